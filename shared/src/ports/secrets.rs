use std::future::Future;

use crate::model::{Secret, SecretRef};

use super::Error;

/// Secrets by reference. An adapter may remember them for a short time: a rotated secret must be
/// found within minutes, and a sender that is turned away tries again.
pub trait Secrets: Send + Sync {
    /// The secret that stands there now. One that is not there is an error of kind
    /// [`Reject`](super::ErrorKind::Reject).
    fn secret(&self, reference: &SecretRef) -> impl Future<Output = Result<Secret, Error>> + Send;
}
