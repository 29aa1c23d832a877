//! The functions' own binaries, deployed by the template to an emulator that keeps to their roles: over
//! Lambda's runtime API, SQS and DynamoDB, with rows in a MongoDB wire server.

mod alone;
mod bench;
mod commands;
mod disorder;
mod stack;
