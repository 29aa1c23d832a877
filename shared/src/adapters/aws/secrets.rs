use crate::model::{Secret, SecretRef};
use crate::ports::{Error, ErrorKind, Secrets};

use super::{Aws, failed};
use crate::adapters::Environment;

impl Secrets for Aws {
    async fn secret(&self, reference: &SecretRef) -> Result<Secret, Error> {
        match reference {
            SecretRef::SecretsManager(id) => self.secret_text(id).await,
            SecretRef::Env(_) => Environment.secret(reference).await,
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
