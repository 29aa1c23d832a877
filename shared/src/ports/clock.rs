use crate::model::Timestamp;

/// The only place a clock is read. Rules take time as an argument.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}
