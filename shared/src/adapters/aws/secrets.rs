use crate::ports::{Error, ErrorKind};

use super::{Aws, failed};

impl Aws {
    /// The text of a secret in Secrets Manager, by its name or ARN.
    ///
    /// # Errors
    /// There is no such secret, it may not be read, or it is no text.
    pub async fn secret_text(&self, id: &str) -> Result<String, Error> {
        let doing = format!("read the secret {id:?} in Secrets Manager");
        let read = self.secrets.get_secret_value().secret_id(id).send().await;
        let text = read.map_err(failed(&doing))?.secret_string;
        text.ok_or_else(|| Error::new(ErrorKind::Reject, doing, "it is bytes, not text"))
    }
}
