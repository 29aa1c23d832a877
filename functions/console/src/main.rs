//! Lambda function `console`: the console over a stack, for a function URL.

mod stack;

use std::sync::Arc;

use foldback_console::{Access, Door, Token, router};
use lambda_http::{run, tracing};
use shared::adapters::stack::Stack;
use shared::config::ConsoleConfig;
use shared::ports::{Error, ErrorKind};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), lambda_http::Error> {
    tracing::init_default_subscriber();
    let config = ConsoleConfig::from_env()?;
    let stack = Arc::new(Stack::from_env()?);
    let access = Arc::new(access(&stack, &config).await?);
    run(router(stack::World::new(stack), access)).await
}

/// With a token that is the one way in. Without, IAM has checked who asks, and nothing can be changed: there
/// would be no secret to tell a form of ours by.
async fn access(stack: &Stack, config: &ConsoleConfig) -> Result<Access, Error> {
    let Some(id) = &config.token_secret else {
        let access = Access::new(Vec::new(), Door::Guarded, [0; 32]);
        return access
            .map(|access| access.secure(true).read_only(true))
            .map_err(refused);
    };
    let secret = stack.aws.secret_text(id).await?;
    let tokens = if secret.reveal().trim_start().starts_with("[[token]]") {
        Token::read_all(secret.reveal()).map_err(refused)?
    } else {
        vec![Token::of_everything(secret)]
    };
    let access = Access::new(tokens, Door::Tokens, [0; 32]).map_err(refused)?;
    Ok(access.secure(true).read_only(!config.may_act))
}

fn refused(why: String) -> Error {
    Error::new(ErrorKind::Reject, "set the console up", why)
}
