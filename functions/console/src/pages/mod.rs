//! The pages. Every value goes through the template's own escaping: nothing here writes markup as text.

pub(crate) mod audit;
pub(crate) mod chart;
pub(crate) mod confirm;
pub(crate) mod entity;
pub(crate) mod findings;
pub(crate) mod job;
pub(crate) mod jobs;
mod layout;
pub(crate) mod overview;
pub(crate) mod settings;
pub(crate) mod sign_in;
mod words;

pub(crate) use layout::{Page, Tab, bare};
pub(crate) use words::{count, lasting, link, moment, things};
