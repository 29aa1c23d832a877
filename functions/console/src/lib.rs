//! The console: pages about jobs, entities, findings and settings, and a query API with the same content.
//!
//! One [`router`] over a [`World`]: `foldback serve` has one of a data directory, the Lambda function one of
//! a stack. What is shown comes from its [`Source`], what is done goes through [`World::act`]; the pages know
//! no store.
//!
//! | file | what it knows |
//! | --- | --- |
//! | `access` | who is let in, what they see, whether a form is ours |
//! | `source` | what the console needs of the world |
//! | `overview`, `jobs`, `job`, `entity` | what there is to show |
//! | `pages` | how it is shown |
//! | `api` | the same as JSON, and the document that describes it |
//! | `act` | what can be done, and the question before it |
//! | `live` | that something changed |

mod access;
mod act;
mod api;
mod assets;
mod entity;
mod job;
mod jobs;
mod live;
mod overview;
mod pages;
mod refused;
mod routes;
mod source;

pub use access::{Access, By, Door, TOKEN_CHARS_MIN, Token, Who};
pub use routes::router;
pub use source::{Act, Acted, Activity, Chosen, Deed, Mending, Slot, Source, Within, World};
