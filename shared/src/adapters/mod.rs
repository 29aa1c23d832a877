//! The ports over real stores, each behind a cargo feature; file names are those of the ports.

#[cfg(feature = "aws")]
pub mod aws;
#[cfg(any(feature = "aws", feature = "embedded", feature = "mongo"))]
mod codec;
#[cfg(feature = "embedded")]
pub mod embedded;
mod environment;
#[cfg(any(feature = "embedded", feature = "mongo"))]
mod image_record;
mod joined;
#[cfg(any(feature = "aws", feature = "fuzz"))]
mod message_body;
#[cfg(feature = "mongo")]
pub mod mongo;
#[cfg(feature = "otlp")]
pub mod otlp;
#[cfg(feature = "prometheus")]
pub mod prometheus;
#[cfg(feature = "fuzz")]
pub mod records;
mod remembered_secrets;
#[cfg(feature = "aws")]
pub mod stack;
mod system_clock;
#[cfg(feature = "aws")]
pub mod telemetry;
pub mod texts;
mod watched;

pub use environment::Environment;
pub use joined::Joined;
pub use remembered_secrets::RememberedSecrets;
pub use system_clock::SystemClock;
pub use watched::Watched;
