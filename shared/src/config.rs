//! What a function is told by its environment. Read once, at its start.

use crate::ports::{Error, ErrorKind};

/// How a function is set up. A wrong or missing variable is refused by its name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// The stack's name, by which its metrics stand.
    pub stack: String,
    /// The region.
    pub region: String,
    /// Another endpoint than the region's, for all services: an emulator's.
    pub endpoint: Option<String>,
    /// What AWS is asked with.
    pub keys: Keys,
    /// The table of events, identities and groups.
    pub journal_table: String,
    /// The table of settings, locks and replay runs.
    pub state_table: String,
    /// The FIFO queue of actions.
    pub queue_url: String,
    /// Its dead-letter queue.
    pub dlq_url: String,
    /// The queue of replay's partitions; only replay needs it.
    pub replay_queue_url: Option<String>,
    /// Where rows are.
    pub mongodb: Option<MongoUri>,
    /// After so many receives SQS moves a message to the dead-letter queue.
    pub receives_max: u32,
    /// An event that was recorded so many milliseconds ago or less is under way, not lost.
    pub grace_ms: i64,
    /// How long compiled settings are used before a look whether there are newer ones, in milliseconds.
    pub settings_ms: i64,
    /// Over how many partitions a whole replay is fanned out.
    pub partitions: u64,
    /// Whether traces go on in X-Ray.
    pub xray: bool,
    /// Where its daemon listens; Lambda says so.
    pub xray_daemon: Option<String>,
    /// How spans are exported, if they are.
    pub otlp: Option<Otlp>,
}

/// The keys that Lambda gives a function for its role.
#[derive(Clone, PartialEq, Eq)]
pub struct Keys {
    /// The access key's id.
    pub id: String,
    /// The secret access key.
    pub secret: String,
    /// The session token.
    pub token: Option<String>,
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Keys(hidden)")
    }
}

/// How a function comes by MongoDB's connection string.
#[derive(Clone, PartialEq, Eq)]
pub enum MongoUri {
    /// It is the text of this secret in Secrets Manager: a name or an ARN.
    Secret(String),
    /// It is this. For stacks whose database has no password.
    Plain(String),
}

impl std::fmt::Debug for MongoUri {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Secret(name) => f.debug_tuple("Secret").field(name).finish(),
            Self::Plain(_) => f.write_str("Plain(hidden)"),
        }
    }
}

impl Config {
    /// What the environment says.
    ///
    /// # Errors
    /// A variable is missing or wrong; says which.
    pub fn from_env() -> Result<Self, Error> {
        #[expect(clippy::disallowed_methods, reason = "this is where it is read")]
        Self::read(|name| std::env::var(name).ok())
    }

    /// What `get` says of each variable. One that is empty is not set.
    ///
    /// # Errors
    /// A variable is missing or wrong; says which.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        let get = |name: &str| get(name).filter(|text| !text.is_empty());
        let needed = |name: &str| get(name).ok_or_else(|| wrong(name, "it is not set"));
        let number = |name: &str, default: u32| match get(name) {
            None => Ok(default),
            Some(text) => match text.parse::<u32>() {
                Ok(number) if number > 0 => Ok(number),
                Ok(_) | Err(_) => Err(wrong(name, &format!("{text:?} is no number from 1 on"))),
            },
        };
        let mongodb = get("FOLDBACK_MONGODB").map(MongoUri::Plain);
        let secret = get("FOLDBACK_MONGODB_SECRET").map(MongoUri::Secret);
        Ok(Self {
            stack: get("FOLDBACK_STACK").unwrap_or_else(|| "foldback".to_owned()),
            region: needed("AWS_REGION")?,
            endpoint: get("AWS_ENDPOINT_URL"),
            keys: Keys {
                id: needed("AWS_ACCESS_KEY_ID")?,
                secret: needed("AWS_SECRET_ACCESS_KEY")?,
                token: get("AWS_SESSION_TOKEN"),
            },
            journal_table: needed("FOLDBACK_JOURNAL_TABLE")?,
            state_table: needed("FOLDBACK_STATE_TABLE")?,
            queue_url: needed("FOLDBACK_QUEUE_URL")?,
            dlq_url: get("FOLDBACK_DLQ_URL").unwrap_or_default(),
            replay_queue_url: get("FOLDBACK_REPLAY_QUEUE_URL"),
            mongodb: mongodb.or(secret),
            receives_max: number("FOLDBACK_RECEIVES_MAX", 10)?,
            grace_ms: i64::from(number("FOLDBACK_GRACE_SECONDS", 900)?) * 1_000,
            settings_ms: i64::from(number("FOLDBACK_SETTINGS_SECONDS", 30)?) * 1_000,
            partitions: u64::from(number("FOLDBACK_REPLAY_PARTITIONS", 16)?),
            xray: get("FOLDBACK_TRACING").is_some_and(|text| text == "Active"),
            xray_daemon: get("AWS_XRAY_DAEMON_ADDRESS"),
            otlp: Otlp::read(get),
        })
    }
}

/// How traces are exported; where to and how is read by the library that does it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Otlp {
    /// What the service is called: `OTEL_SERVICE_NAME`.
    pub service: Option<String>,
}

impl Otlp {
    /// What the environment says; `None` where it names no endpoint, or says that nothing is to be exported.
    #[must_use]
    pub fn from_env() -> Option<Self> {
        #[expect(clippy::disallowed_methods, reason = "this is where it is read")]
        Self::read(|name| std::env::var(name).ok())
    }

    /// What `get` says of each variable. One that is empty is not set.
    #[must_use]
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let get = |name: &str| get(name).filter(|text| !text.is_empty());
        let off = |name: &str, word: &str| get(name).is_some_and(|text| text == word);
        if off("OTEL_SDK_DISABLED", "true") || off("OTEL_TRACES_EXPORTER", "none") {
            return None;
        }
        let endpoint = get("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT");
        endpoint.or_else(|| get("OTEL_EXPORTER_OTLP_ENDPOINT"))?;
        Some(Self {
            service: get("OTEL_SERVICE_NAME"),
        })
    }
}

/// What the console is told besides.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsoleConfig {
    /// The secret in Secrets Manager whose text is the token to sign in with, or several in TOML; without one,
    /// whoever IAM lets through may look.
    pub token_secret: Option<String>,
    /// Whether anything may be done there: dead letters, settings, replay and repair.
    pub may_act: bool,
}

impl ConsoleConfig {
    /// What the environment says.
    ///
    /// # Errors
    /// A variable is wrong; says which.
    pub fn from_env() -> Result<Self, Error> {
        #[expect(clippy::disallowed_methods, reason = "this is where it is read")]
        Self::read(|name| std::env::var(name).ok())
    }

    /// What `get` says of each variable. One that is empty is not set.
    ///
    /// # Errors
    /// A variable is wrong; says which.
    pub fn read(get: impl Fn(&str) -> Option<String>) -> Result<Self, Error> {
        const ACT: &str = "FOLDBACK_CONSOLE_ACT";
        let may_act = match get(ACT).as_deref() {
            None | Some("" | "false") => false,
            Some("true") => true,
            Some(other) => return Err(wrong(ACT, &format!("{other:?} is neither true nor false"))),
        };
        let token_secret = get("FOLDBACK_CONSOLE_TOKEN_SECRET").filter(|text| !text.is_empty());
        Ok(Self {
            token_secret,
            may_act,
        })
    }
}

fn wrong(name: &str, why: &str) -> Error {
    let doing = format!("read the environment variable {name}");
    Error::new(ErrorKind::Reject, doing, why.to_owned())
}

#[cfg(test)]
mod tests {
    use std::error::Error as _;

    use super::*;

    const WHOLE: [(&str, &str); 9] = [
        ("AWS_ACCESS_KEY_ID", "AKIA"),
        ("AWS_SECRET_ACCESS_KEY", "pw"),
        ("AWS_REGION", "eu-north-1"),
        ("FOLDBACK_JOURNAL_TABLE", "journal"),
        ("FOLDBACK_STATE_TABLE", "state"),
        ("FOLDBACK_QUEUE_URL", "http://q"),
        ("FOLDBACK_DLQ_URL", "http://d"),
        ("FOLDBACK_MONGODB_SECRET", "foldback/mongodb"),
        ("FOLDBACK_GRACE_SECONDS", "60"),
    ];

    fn read(changes: &[(&str, &str)]) -> Result<Config, Error> {
        Config::read(|name| {
            let all = changes.iter().chain(&WHOLE);
            let found = all.clone().find(|(one, _)| *one == name);
            found.map(|(_, text)| (*text).to_owned())
        })
    }

    #[test]
    fn a_whole_environment_is_taken() {
        let config = read(&[]).expect("a config");
        assert_eq!((config.grace_ms, config.receives_max), (60_000, 10));
        assert_eq!(config.stack, "foldback");
        assert_eq!(
            config.mongodb,
            Some(MongoUri::Secret("foldback/mongodb".into()))
        );
        let plain = read(&[("FOLDBACK_MONGODB", "mongodb://u:pw@h")]).expect("a config");
        assert!(!format!("{plain:?}").contains("pw"), "{plain:?}");
    }

    #[test]
    fn traces_are_exported_where_an_endpoint_is_named() {
        let check = |set: &[(&str, &str)], expect: Option<Option<&str>>| {
            let get = |name: &str| {
                let found = set.iter().find(|(one, _)| *one == name);
                found.map(|(_, text)| (*text).to_owned())
            };
            let read = Otlp::read(get);
            let read = read.as_ref().map(|otlp| otlp.service.as_deref());
            assert_eq!(read, expect, "{set:?}");
        };
        let endpoint = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318");
        check(&[], None);
        check(&[("OTEL_EXPORTER_OTLP_ENDPOINT", "")], None);
        check(&[endpoint], Some(None));
        check(
            &[("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://h")],
            Some(None),
        );
        check(&[endpoint, ("OTEL_SERVICE_NAME", "crm")], Some(Some("crm")));
        check(&[endpoint, ("OTEL_TRACES_EXPORTER", "none")], None);
        check(&[endpoint, ("OTEL_SDK_DISABLED", "true")], None);
    }

    #[test]
    fn a_console_may_do_nothing_unless_told() {
        let read = |act: &str| {
            let told = |name: &str| (name == "FOLDBACK_CONSOLE_ACT").then(|| act.to_owned());
            ConsoleConfig::read(told).ok().map(|config| config.may_act)
        };
        for (act, expect) in [
            ("", Some(false)),
            ("false", Some(false)),
            ("true", Some(true)),
            ("yes", None),
        ] {
            assert_eq!(read(act), expect, "{act}");
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |name: &str, text: &str, expect: &str| {
            let error = read(&[(name, text)]).expect_err("refused");
            let why = error.source().expect("a reason");
            let said = format!("{error}: {why}");
            assert_eq!(
                said,
                format!("read the environment variable {name}: {expect}")
            );
        };
        check("FOLDBACK_STATE_TABLE", "", "it is not set");
        check("AWS_REGION", "", "it is not set");
        check(
            "FOLDBACK_GRACE_SECONDS",
            "1m",
            r#""1m" is no number from 1 on"#,
        );
        check(
            "FOLDBACK_RECEIVES_MAX",
            "0",
            r#""0" is no number from 1 on"#,
        );
    }
}
