use crate::model::{Secret, SecretRef};
use crate::ports::{Error, ErrorKind, Secrets};

/// Secrets in this process's environment.
#[derive(Debug, Clone, Copy, Default)]
pub struct Environment;

impl Secrets for Environment {
    async fn secret(&self, reference: &SecretRef) -> Result<Secret, Error> {
        match reference {
            SecretRef::Env(name) => from_environment(name),
            SecretRef::SecretsManager(id) => {
                let doing = format!("read the secret {id:?} in Secrets Manager");
                let why = "that is for functions on AWS; name an environment variable: { env = \"NAME\" }";
                Err(Error::new(ErrorKind::Reject, doing, why))
            }
        }
    }
}

fn from_environment(name: &str) -> Result<Secret, Error> {
    #[expect(
        clippy::disallowed_methods,
        reason = "a secret is read where it stands"
    )]
    let text = std::env::var(name);
    let doing = format!("read a secret from the environment variable {name}");
    // The error of a text that is not UTF-8 would show the text.
    text.map(Secret::new).map_err(|_may_hold_it| {
        let why = "it is not set, or is not UTF-8";
        Error::new(ErrorKind::Reject, doing, why)
    })
}
