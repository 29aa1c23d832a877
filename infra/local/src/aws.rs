//! A stack on AWS: who asks, where, and what the stack is made of.

use std::fmt;
use std::sync::Arc;

use aws_config::environment::EnvironmentVariableRegionProvider;
use aws_config::meta::region::RegionProviderChain;
use aws_config::profile::{ProfileFileCredentialsProvider, ProfileFileRegionProvider};
use aws_config::provider_config::ProviderConfig;
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::provider::{ProvideCredentials, SharedCredentialsProvider};
use aws_sdk_cloudformation::Client;
use aws_sdk_cloudformation::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_cloudformation::operation::describe_stacks::DescribeStacksError;
use aws_sdk_cloudformation::types::Stack as Description;
use clap::Args;
use shared::adapters::aws::{Access, Aws, Names, http_client};
use shared::ports::{Error, ErrorKind};
use tokio::runtime::Runtime;

use crate::error::Failure;

/// How often the template lets a message be received.
const RECEIVES_MAX: u32 = 10;
/// How long the template's functions go on with settings they have read.
const SETTINGS_SECONDS: u64 = 30;
/// How long the template's replays take an event for one that is under way.
const GRACE_SECONDS: u32 = 900;

/// Which account and region of AWS.
#[derive(Debug, Clone, Default, Args)]
pub(crate) struct AwsArgs {
    /// The stack, by its name or ARN.
    #[arg(long, value_name = "NAME", required_if_eq("target", "aws"))]
    pub(crate) stack: Option<String>,
    /// The stack's region; without it, what the environment or the profile says.
    #[arg(long, value_name = "REGION")]
    region: Option<String>,
    /// The profile of the AWS CLI's configuration; without it, what the environment says.
    #[arg(long, value_name = "NAME")]
    profile: Option<String>,
}

/// The stores of a stack, and what its functions are told.
#[derive(Clone)]
pub(crate) struct Stack {
    pub(crate) name: String,
    pub(crate) aws: Aws,
    /// What its clients run in.
    pub(crate) runtime: Arc<Runtime>,
    /// Where its function `ingest` takes events in.
    pub(crate) ingest_url: Option<String>,
    /// The secret that holds MongoDB's connection string, where it was deployed with one.
    pub(crate) mongo_secret: Option<String>,
    /// For how long a function goes on with settings it has read.
    pub(crate) settings_seconds: u64,
    /// How young an event is that its replays take for one that is under way.
    pub(crate) grace_seconds: u32,
}

impl fmt::Debug for Stack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stack")
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

impl AwsArgs {
    /// What was given, by the names of the options.
    pub(crate) fn given(&self) -> Option<&'static str> {
        let options = [
            ("--stack", &self.stack),
            ("--region", &self.region),
            ("--profile", &self.profile),
        ];
        let mut given = options.into_iter().filter(|(_, value)| value.is_some());
        given.next().map(|(name, _)| name)
    }
}

impl Stack {
    /// Finds the stack that the command line names.
    pub(crate) fn find(args: &AwsArgs) -> Result<Self, Failure> {
        let runtime = Arc::new(crate::stores::runtime()?);
        let name = args.stack.clone().unwrap_or_default();
        let (access, description) = runtime.block_on(Box::pin(async {
            let access = access(args).await?;
            let description = describe(&name, &access).await?;
            Ok::<_, Failure>((access, description))
        }))?;
        let output = |output: &str| {
            find_output(&description, output).ok_or_else(|| {
                Failure::Input(format!(
                    "the stack {name:?} has no output {output}: it is not one of Foldback's, or \
                     was deployed with an older template; deploy infra/aws/template.yaml"
                ))
            })
        };
        let names = Names {
            journal_table: output("JournalTable")?,
            state_table: output("StateTable")?,
            queue_url: output("QueueUrl")?,
            dlq_url: output("DlqUrl")?,
            receives_max: find_number(&description, "ReceivesMax").unwrap_or(RECEIVES_MAX),
        };
        Ok(Self {
            aws: Aws::new(&access.config(), names),
            runtime,
            ingest_url: find_output(&description, "IngestUrl"),
            mongo_secret: find_output(&description, "MongoSecret"),
            settings_seconds: find_number(&description, "SettingsSeconds")
                .unwrap_or(SETTINGS_SECONDS),
            grace_seconds: find_number(&description, "GraceSeconds").unwrap_or(GRACE_SECONDS),
            name,
        })
    }
}

fn find_output(stack: &Description, name: &str) -> Option<String> {
    let mut outputs = stack.outputs().iter();
    let found = outputs.find(|output| output.output_key() == Some(name))?;
    let value = found.output_value().filter(|value| !value.is_empty())?;
    Some(value.to_owned())
}

fn find_number<N: std::str::FromStr>(stack: &Description, name: &str) -> Option<N> {
    let mut parameters = stack.parameters().iter();
    let found = parameters.find(|one| one.parameter_key() == Some(name))?;
    found.parameter_value()?.parse().ok()
}

/// Region and credentials, looked for where the AWS CLI looks.
async fn access(args: &AwsArgs) -> Result<Access, Failure> {
    let AwsArgs {
        region, profile, ..
    } = args;
    let mut of_profile = ProfileFileRegionProvider::builder();
    if let Some(profile) = profile {
        of_profile = of_profile.profile_name(profile);
    }
    let given = region.clone().map(Region::new);
    let regions = RegionProviderChain::first_try(given)
        .or_else(EnvironmentVariableRegionProvider::new())
        .or_else(of_profile.build());
    let Some(region) = regions.region().await else {
        return Err(Failure::Input(
            "no AWS region is set; give --region, set AWS_REGION, or take a profile that has one"
                .to_owned(),
        ));
    };
    let http = http_client();
    let mut loader = aws_config::defaults(BehaviorVersion::latest())
        .region(region.clone())
        .http_client(http.clone());
    if let Some(profile) = profile {
        // Named here, it goes before keys in the environment.
        let config = ProviderConfig::without_region()
            .with_region(Some(region.clone()))
            .with_http_client(http);
        let own = ProfileFileCredentialsProvider::builder()
            .configure(&config)
            .profile_name(profile);
        loader = loader
            .profile_name(profile)
            .credentials_provider(own.build());
    }
    let config = loader.load().await;
    let credentials = credentials(config.credentials_provider(), profile.as_deref()).await?;
    Ok(Access {
        region: region.to_string(),
        endpoint: config.endpoint_url().map(str::to_owned),
        credentials,
    })
}

/// The credentials, tried out: all that follows would fail without them, and less clearly.
async fn credentials(
    found: Option<SharedCredentialsProvider>,
    profile: Option<&str>,
) -> Result<SharedCredentialsProvider, Failure> {
    let none = match profile {
        Some(profile) => format!("no AWS credentials in the profile {profile:?}"),
        None => "no AWS credentials".to_owned(),
    };
    let advice = "log in (`aws sso login`), give --profile, or set AWS_PROFILE or AWS_ACCESS_KEY_ID \
                  and AWS_SECRET_ACCESS_KEY";
    let Some(found) = found else {
        return Err(Failure::Input(format!("{none}: {advice}")));
    };
    match found.provide_credentials().await {
        Ok(_usable) => Ok(found),
        Err(error) => {
            let why = Error::new(ErrorKind::Reject, none, error).chain();
            Err(Failure::Input(format!("{why}; {advice}")))
        }
    }
}

/// What `CloudFormation` says of a stack that is there.
async fn describe(name: &str, access: &Access) -> Result<Description, Failure> {
    let region = access.region.clone();
    let client = Client::new(&access.clone().config());
    let asked = client.describe_stacks().stack_name(name).send().await;
    let none = || {
        Failure::Input(format!(
            "there is no stack {name:?} in {region}; deploy one (infra/aws/README.md), or give \
             another --stack, --region or --profile"
        ))
    };
    let found = match asked {
        Ok(found) => found.stacks.unwrap_or_default().into_iter().next(),
        Err(error) if is_unknown(&error) => None,
        Err(error) => return Err(failed(name, error)),
    };
    let found = found.ok_or_else(none)?;
    let status = found.stack_status();
    let status = status.map_or("unknown", |status| status.as_str());
    let stands = status.starts_with("UPDATE_") || status.starts_with("IMPORT_");
    if status == "CREATE_COMPLETE" || stands {
        return Ok(found);
    }
    Err(Failure::Input(format!(
        "the stack {name:?} is not there yet, or no more: its status is {status}; wait until its \
         deployment is done, or deploy it anew"
    )))
}

fn is_unknown<R>(error: &SdkError<DescribeStacksError, R>) -> bool {
    let Some(refused) = error.as_service_error() else {
        return false;
    };
    let says = refused.message().unwrap_or_default();
    refused.code() == Some("ValidationError") && says.contains("does not exist")
}

fn failed(name: &str, error: SdkError<DescribeStacksError>) -> Failure {
    let refused = error
        .raw_response()
        .is_some_and(|response| response.status().is_client_error());
    let kind = if refused {
        ErrorKind::Reject
    } else {
        ErrorKind::Retry
    };
    let doing = format!("ask CloudFormation what the stack {name:?} is made of");
    Error::new(kind, doing, error).into()
}
