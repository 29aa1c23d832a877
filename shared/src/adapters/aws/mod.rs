//! Events, messages and what the functions remember, on AWS: the queue on SQS FIFO, all else on DynamoDB.
//!
//! Nothing here keeps state that another process could not read: a function may end at any moment.
//! Throttling and what passes by itself is [`Retry`](crate::ports::ErrorKind::Retry), after the SDK's own
//! attempts and, for the rest of a partial batch, some of our own. Rows are not here but in MongoDB.

mod dead_letters;
mod delivery;
mod failure;
mod groups;
mod identities;
mod item;
mod journal;
#[cfg(test)]
mod keys_apart;
mod locks;
mod measures;
mod pause;
mod queue;
mod runs;
mod secrets;
mod settings_versions;
mod tally;
mod xray;

use super::message_body as body;
use std::collections::BTreeSet;
use std::error::Error as StdError;
use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_credential_types::Credentials;
use aws_sdk_sqs::config::retry::RetryConfig;
use aws_sdk_sqs::config::timeout::TimeoutConfig;
use aws_sdk_sqs::config::{BehaviorVersion, SharedCredentialsProvider, SharedHttpClient};
use aws_smithy_http_client::{Builder, tls};
use aws_types::SdkConfig;
use aws_types::region::Region;
use futures_util::{StreamExt, TryStreamExt, stream};

use crate::adapters::SystemClock;
use crate::model::Group;
use crate::ports::{Clock, Error, ErrorKind};

pub use delivery::{Delivered, Delivery};
pub use measures::metric_lines;
pub use runs::{Part, PartOfRun, Run, RunState};
pub use xray::send_to_xray;

use failure::failed;

/// How often the SDK tries a request, the first time included, with jittered exponential backoff.
const ATTEMPTS_MAX: u32 = 4;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(5);

/// What a stack calls its parts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Names {
    /// The table of events, identities and groups.
    pub journal_table: String,
    /// The table of settings, locks and replay runs.
    pub state_table: String,
    /// The FIFO queue of actions.
    pub queue_url: String,
    /// Its dead-letter queue.
    pub dlq_url: String,
    /// After so many receives SQS moves a message there.
    pub receives_max: u32,
}

/// The stores of one stack.
#[derive(Clone)]
pub struct Aws {
    sqs: aws_sdk_sqs::Client,
    dynamo: aws_sdk_dynamodb::Client,
    secrets: aws_sdk_secretsmanager::Client,
    names: Names,
    clock: Arc<dyn Clock>,
    /// Groups that are known to stand in the list of groups.
    listed: Arc<Mutex<BTreeSet<Group>>>,
    /// The last moment, in microseconds, that was given to a segment.
    last_us: Arc<AtomicU64>,
    /// Whether messages carry X-Ray's header.
    xray: bool,
}

impl fmt::Debug for Aws {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aws")
            .field("names", &self.names)
            .finish_non_exhaustive()
    }
}

impl Aws {
    /// The stores of the stack that calls its parts so. No request is made yet.
    #[must_use]
    pub fn new(config: &SdkConfig, names: Names) -> Self {
        Self {
            sqs: aws_sdk_sqs::Client::new(config),
            dynamo: aws_sdk_dynamodb::Client::new(config),
            secrets: aws_sdk_secretsmanager::Client::new(config),
            names,
            clock: Arc::new(SystemClock),
            listed: Arc::default(),
            last_us: Arc::default(),
            xray: false,
        }
    }

    /// The same, by another clock than the machine's.
    #[must_use]
    pub fn with_clock(self, clock: Arc<dyn Clock>) -> Self {
        Self { clock, ..self }
    }

    /// The same, whose messages carry their traces on in X-Ray. Who receives them is traced then, even where
    /// a function is not set up to begin traces by itself.
    #[must_use]
    pub fn with_xray(self, xray: bool) -> Self {
        Self { xray, ..self }
    }

    /// What the stack calls its parts.
    #[must_use]
    pub fn names(&self) -> &Names {
        &self.names
    }
}

/// What requests to AWS go through; whoever asks for credentials takes the same.
#[must_use]
pub fn http_client() -> SharedHttpClient {
    let tls = tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring);
    Builder::new().tls_provider(tls).build_https()
}

/// Who asks AWS, and where.
#[derive(Debug, Clone)]
pub struct Access {
    /// The region.
    pub region: String,
    /// Another endpoint than the region's, for all services: an emulator's.
    pub endpoint: Option<String>,
    /// The credentials.
    pub credentials: SharedCredentialsProvider,
}

impl Access {
    /// Access with fixed keys, as Lambda hands them to a function in its environment.
    #[must_use]
    pub fn with_keys(
        region: &str,
        endpoint: Option<String>,
        (key, secret): (&str, &str),
        token: Option<String>,
    ) -> Self {
        let credentials = Credentials::new(key, secret, token, None, "environment");
        Self {
            region: region.to_owned(),
            endpoint,
            credentials: SharedCredentialsProvider::new(credentials),
        }
    }

    /// The configuration of the SDK's clients: one HTTP client, short timeouts, few attempts.
    #[must_use]
    pub fn config(self) -> SdkConfig {
        let timeouts = TimeoutConfig::builder()
            .connect_timeout(CONNECT_TIMEOUT)
            .operation_attempt_timeout(ATTEMPT_TIMEOUT)
            .build();
        let mut config = SdkConfig::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new(self.region))
            .credentials_provider(self.credentials)
            .http_client(http_client())
            .retry_config(RetryConfig::standard().with_max_attempts(ATTEMPTS_MAX))
            .timeout_config(timeouts);
        config.set_endpoint_url(self.endpoint);
        config.build()
    }
}

/// An error with its causes, in one line.
fn chain(error: &dyn StdError) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    causes.fold(error.to_string(), |said, cause| format!("{said}: {cause}"))
}

/// A request that lacks something: a fault of ours.
fn unbuilt(error: aws_sdk_dynamodb::error::BuildError) -> Error {
    Error::new(ErrorKind::Reject, "build a request to DynamoDB", error)
}

/// Does requests side by side, at most `at_once` at a time; their answers come in the order of the requests.
async fn side_by_side<T, F: Future<Output = Result<T, Error>>>(
    requests: Vec<F>,
    at_once: usize,
) -> Result<Vec<T>, Error> {
    stream::iter(requests).buffered(at_once).try_collect().await
}
