use crate::model::{Secret, SecretRef};
use crate::ports::{Error, ErrorKind, Secrets};

use super::{Aws, failed};

impl Secrets for Aws {
    async fn secret(&self, reference: &SecretRef) -> Result<Secret, Error> {
        match reference {
            SecretRef::SecretsManager(id) => self.secret_text(id).await,
            SecretRef::Env(name) => from_environment(name),
        }
    }
}

impl Aws {
    /// The text of a secret in Secrets Manager, by its name or ARN.
    ///
    /// # Errors
    /// There is no such secret, it may not be read, or it is no text.
    pub async fn secret_text(&self, id: &str) -> Result<Secret, Error> {
        let doing = format!("read the secret {id:?} in Secrets Manager");
        let read = self.secrets.get_secret_value().secret_id(id).send().await;
        let text = read.map_err(failed(&doing))?.secret_string;
        let text = text.ok_or_else(|| {
            let why = "it is bytes, not text";
            Error::new(ErrorKind::Reject, doing, why)
        })?;
        Ok(Secret::new(text))
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
