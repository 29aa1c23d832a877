use serde::Deserialize;
use smol_str::SmolStr;

use super::file::{Expression, Source};
use super::pluck::Pointer;
use super::take::Takes;
use crate::model::SecretRef;

/// The most secrets a tenant may have at once.
const SECRETS_MAX: usize = 4;
const NAME_BYTES_MAX: usize = 512;

/// How a tenant's events are taken in over HTTP.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "WebhookTable")]
pub struct Webhook {
    signing: Signing,
    wrap: Option<Wrap>,
}

/// Whose requests are taken.
#[derive(Debug, Clone)]
pub enum Signing {
    /// Those signed with one of these secrets, the newest first.
    Secrets(Vec<SecretRef>),
    /// Anybody's: the settings say so in as many words.
    Unsigned,
}

/// How plain JSON becomes events.
#[derive(Debug, Clone, Deserialize)]
#[serde(try_from = "WrapTable")]
pub struct Wrap {
    attributes: Takes<WrapAttribute>,
    data: Option<Pointer>,
    each: Option<Place>,
}

/// The attributes that wrapping gives an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum WrapAttribute {
    /// `type`.
    Type,
    /// `id`.
    Id,
    /// `source`.
    Source,
    /// `time`.
    Time,
    /// `partitionkey`.
    PartitionKey,
    /// `subject`.
    Subject,
    /// `sequence`.
    Sequence,
    /// `revision`.
    Revision,
    /// `withdrawn`.
    Withdrawn,
}

impl Webhook {
    /// Whose requests are taken.
    #[must_use]
    pub fn signing(&self) -> &Signing {
        &self.signing
    }

    /// How plain JSON becomes events; `None` where only `CloudEvents` are taken.
    #[must_use]
    pub fn wrap(&self) -> Option<&Wrap> {
        self.wrap.as_ref()
    }

    /// A secret that all tenants of these settings would have in common.
    pub(super) fn shared_secret(&self) -> Option<&SecretRef> {
        match &self.signing {
            Signing::Secrets(references) => references
                .iter()
                .find(|reference| !reference.name().contains(SecretRef::TENANT)),
            Signing::Unsigned => None,
        }
    }
}

impl Wrap {
    /// The JSON text in which the events stand, each an element; `None` where the whole body is one.
    /// The inner `None` says that nothing stands there.
    pub(crate) fn list<'j>(&self, body: &'j str) -> Option<Option<&'j str>> {
        self.each.as_ref().map(|place| match &place.0 {
            Some(pointer) => pointer.raw(body),
            None => Some(body),
        })
    }

    /// What `each` says, for messages.
    pub(crate) fn list_pointer(&self) -> &str {
        let pointer = self.each.as_ref().and_then(|place| place.0.as_ref());
        pointer.map_or("", |pointer| pointer.text().as_str())
    }

    /// The attributes of the event that stands in this JSON text, as far as it has them.
    pub(crate) fn attributes(&self, json: &str) -> impl Iterator<Item = (WrapAttribute, SmolStr)> {
        self.attributes.values(Some(json), &[])
    }

    /// Where an attribute is looked for.
    pub(crate) fn pointer(&self, attribute: WrapAttribute) -> Option<&SmolStr> {
        self.attributes.pointer(attribute)
    }

    /// The event's data within its JSON text, as it stands there.
    pub(crate) fn data<'j>(&self, json: &'j str) -> Option<&'j str> {
        match &self.data {
            Some(pointer) => pointer.raw(json),
            None => Some(json),
        }
    }
}

impl WrapAttribute {
    /// The attribute as `CloudEvents` names it.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Type => "type",
            Self::Id => "id",
            Self::Source => "source",
            Self::Time => "time",
            Self::PartitionKey => "partitionkey",
            Self::Subject => "subject",
            Self::Sequence => "sequence",
            Self::Revision => "revision",
            Self::Withdrawn => "withdrawn",
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WebhookTable {
    #[serde(default)]
    secrets: Vec<SecretFile>,
    #[serde(default)]
    unsigned: bool,
    wrap: Option<Wrap>,
}

impl TryFrom<WebhookTable> for Webhook {
    type Error = String;
    fn try_from(table: WebhookTable) -> Result<Self, String> {
        let secrets = table.secrets.into_iter().map(|secret| secret.0);
        let secrets: Vec<SecretRef> = secrets.collect();
        let signing = match (secrets.len(), table.unsigned) {
            (0, true) => Signing::Unsigned,
            (0, false) => {
                return Err(
                    "webhook: name where the secrets are, newest first, for example \
                     secrets = [{ env = \"ACME_WEBHOOK_SECRET\" }]; or write unsigned = true to \
                     take what anybody sends"
                        .into(),
                );
            }
            (_, true) => {
                return Err("webhook: secrets and unsigned = true contradict each other".into());
            }
            (1..=SECRETS_MAX, false) => Signing::Secrets(secrets),
            (n, false) => {
                return Err(format!(
                    "webhook: {n} secrets; at most {SECRETS_MAX} at once"
                ));
            }
        };
        let wrap = table.wrap;
        Ok(Self { signing, wrap })
    }
}

#[derive(Deserialize)]
#[serde(try_from = "SecretTable")]
struct SecretFile(SecretRef);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SecretTable {
    env: Option<SmolStr>,
    secretsmanager: Option<SmolStr>,
}

impl TryFrom<SecretTable> for SecretFile {
    type Error = String;
    fn try_from(table: SecretTable) -> Result<Self, String> {
        let reference = match (table.env, table.secretsmanager) {
            (Some(name), None) => SecretRef::Env(name),
            (None, Some(name)) => SecretRef::SecretsManager(name),
            (Some(_), Some(_)) | (None, None) => {
                return Err("a secret needs exactly one of env and secretsmanager".into());
            }
        };
        let name = reference.name();
        if name.starts_with("whsec_") {
            return Err(
                "that is a secret itself, which settings never hold; write where it is kept".into(),
            );
        }
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(format!("a secret's name has 1 to {NAME_BYTES_MAX} bytes"));
        }
        Ok(Self(reference))
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WrapTable {
    r#type: Expression,
    id: Expression,
    source: Expression,
    time: Expression,
    partition_key: Option<Expression>,
    subject: Option<Expression>,
    sequence: Option<Expression>,
    revision: Option<Expression>,
    withdrawn: Option<Expression>,
    data: Option<Pointer>,
    each: Option<Place>,
}

impl TryFrom<WrapTable> for Wrap {
    type Error = String;
    fn try_from(table: WrapTable) -> Result<Self, String> {
        let is_const = |expression: &Expression| matches!(expression.source, Source::Const(_));
        for (name, expression) in [("id", &table.id), ("time", &table.time)] {
            if is_const(expression) {
                return Err(format!(
                    "wrap.{name}: with a const, all events would have the same; give a pointer"
                ));
            }
        }
        let given = [
            (WrapAttribute::Type, Some(table.r#type)),
            (WrapAttribute::Id, Some(table.id)),
            (WrapAttribute::Source, Some(table.source)),
            (WrapAttribute::Time, Some(table.time)),
            (WrapAttribute::PartitionKey, table.partition_key),
            (WrapAttribute::Subject, table.subject),
            (WrapAttribute::Sequence, table.sequence),
            (WrapAttribute::Revision, table.revision),
            (WrapAttribute::Withdrawn, table.withdrawn),
        ];
        let expressions = given
            .into_iter()
            .filter_map(|(name, one)| Some((name, one?)));
        let expressions: Vec<(WrapAttribute, Expression)> = expressions.collect();
        if let Some((name, _)) = expressions
            .iter()
            .find(|(_, one)| matches!(one.source, Source::Capture(_)))
        {
            return Err(format!(
                "wrap.{}: there is no type to capture from; give pointer or const",
                name.name()
            ));
        }
        Ok(Self {
            attributes: Takes::new(expressions),
            data: table.data,
            each: table.each,
        })
    }
}

/// A place in a body; the empty pointer is the whole of it.
#[derive(Debug, Deserialize, Clone)]
#[serde(try_from = "String")]
struct Place(Option<Pointer>);

impl TryFrom<String> for Place {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        if text.is_empty() {
            return Ok(Self(None));
        }
        Pointer::try_from(text).map(|pointer| Self(Some(pointer)))
    }
}
