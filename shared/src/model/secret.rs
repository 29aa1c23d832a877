use std::fmt;

use smol_str::SmolStr;

/// Where a secret is kept. Settings hold such references, never the secrets.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretRef {
    /// In an environment variable of this name.
    Env(SmolStr),
    /// In AWS Secrets Manager, under this name or ARN, as plain text.
    SecretsManager(SmolStr),
}

impl SecretRef {
    /// What stands for the tenant's id in the name of a secret that each of several tenants has.
    pub const TENANT: &str = "{tenant}";

    /// The name as written.
    #[must_use]
    pub fn name(&self) -> &SmolStr {
        match self {
            Self::Env(name) | Self::SecretsManager(name) => name,
        }
    }

    /// The reference of one tenant's own secret.
    #[must_use]
    pub fn of_tenant(&self, tenant: &str) -> Self {
        let own = |name: &SmolStr| SmolStr::from(name.replace(Self::TENANT, tenant));
        match self {
            Self::Env(name) => Self::Env(own(name)),
            Self::SecretsManager(name) => Self::SecretsManager(own(name)),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name:?}"),
            Self::SecretsManager(name) => write!(f, "Secrets Manager secret {name:?}"),
        }
    }
}

/// A secret's text. Nothing prints it: who needs it asks for it by [`Secret::reveal`].
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Box<str>);

impl Secret {
    /// Keeps a text secret.
    pub fn new(text: impl Into<Box<str>>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_not_printed() {
        let secret = Secret::new("whsec_very");
        assert_eq!(
            format!("{secret:?} {:#?}", Some(&secret)).find("very"),
            None
        );
    }

    #[test]
    fn a_reference_can_name_the_tenant() {
        let shared = SecretRef::SecretsManager("webhook/{tenant}/new".into());
        assert_eq!(
            shared.of_tenant("acme").to_string(),
            r#"Secrets Manager secret "webhook/acme/new""#
        );
        let own = SecretRef::Env("ACME".into());
        assert_eq!(own.of_tenant("acme"), own);
    }
}
