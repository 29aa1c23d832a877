//! What is to be seen of an installation, said once: dashboards for Grafana and `CloudWatch`, and alerts.
//!
//! Panels name metrics by the constants of the [registry](shared::metrics::registry), so none can ask for one
//! that there is not. The kept files are made from this; a test compares them.

mod alerts;
mod cloudwatch;
mod grafana;
mod panels;
mod promql;

pub use alerts::alerts;
pub use cloudwatch::body as cloudwatch_body;
pub use grafana::{for_cloudwatch, for_prometheus};
pub use panels::{Aws, Panel, Query, ROWS, Row};
pub use promql::promql;
