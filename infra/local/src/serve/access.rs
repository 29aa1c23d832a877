//! Who may use the console, as the command line says it.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use clap::Args;
use foldback_console::{Access, Door, Token};
use shared::model::Secret;

use crate::error::Failure;

/// Who may see and do what.
#[derive(Debug, Args)]
pub(crate) struct AccessArgs {
    /// Nothing is changed through the console and its API, whoever asks. Events are taken in all the same.
    #[arg(long)]
    read_only: bool,
    /// Tokens to sign in with, in TOML: `[[token]]` with `name`, `token` (24 characters or more), and if wanted
    /// `tenant` (sees that one alone) and `read_only = true`.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// A token that sees all tenants and may do all, besides those of the file.
    #[arg(
        long,
        value_name = "TOKEN",
        env = "FOLDBACK_CONSOLE_TOKEN",
        hide_env_values = true
    )]
    token: Option<Hidden>,
}

/// A token: nothing prints it.
#[derive(Clone)]
struct Hidden(Secret);

impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hidden")
    }
}

impl std::str::FromStr for Hidden {
    type Err = std::convert::Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(Secret::new(text.to_owned())))
    }
}

impl AccessArgs {
    /// The rules for a server that listens there. Without a token, only this machine is let in.
    pub(crate) fn rules(&self, listen: SocketAddr) -> Result<Access, Failure> {
        let mut tokens = match &self.token_file {
            Some(path) => read(path)?,
            None => Vec::new(),
        };
        let token = self.token.as_ref();
        tokens.extend(token.map(|token| Token::of_everything(token.0.clone())));
        let door = match (tokens.is_empty(), listen.ip().is_loopback()) {
            (false, _) => Door::Tokens,
            (true, true) => Door::Loopback,
            (true, false) => {
                return Err(Failure::Input(format!(
                    "without a token the console listens on this machine alone, not at {listen}: set \
                     FOLDBACK_CONSOLE_TOKEN, or give --token-file"
                )));
            }
        };
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)
            .map_err(|error| Failure::Input(format!("no random numbers: {error}")))?;
        let access = Access::new(tokens, door, secret).map_err(Failure::Input)?;
        Ok(access.read_only(self.read_only))
    }
}

fn read(path: &Path) -> Result<Vec<Token>, Failure> {
    let what = format!("read the tokens in {}", path.display());
    let text = fs::read_to_string(path).map_err(|source| Failure::File {
        what: what.clone(),
        source,
    })?;
    Token::read_all(&text).map_err(|why| Failure::Input(format!("{what}: {why}")))
}
