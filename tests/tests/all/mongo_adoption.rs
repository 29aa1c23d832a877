//! Tables in MongoDB that other code writes too.

use std::future::Future;

use foldback_tests::contract::{Fixture, LegacyFixture};
use serde_json::Value;
use shared::adapters::Joined;
use shared::adapters::embedded::Embedded;
use shared::adapters::mongo::Mongo;
use shared::handlers::Table;
use shared::model::Timestamp;

use crate::mongo::Apart;

/// Events on this machine, rows in MongoDB, and other code that writes there.
struct WithOthers(Apart);

impl Fixture for WithOthers {
    type Ports = Joined<'static, Embedded, Mongo>;

    const VISIBILITY_MS: i64 = Apart::VISIBILITY_MS;
    const RECEIVES_MAX: u32 = Apart::RECEIVES_MAX;

    async fn fresh() -> Self {
        Self(Apart::fresh().await)
    }

    fn ports(&self) -> &Self::Ports {
        self.0.ports()
    }

    fn now(&self) -> Timestamp {
        self.0.now()
    }

    async fn pass(&mut self, ms: i64) {
        self.0.pass(ms).await;
    }

    async fn reopen(&mut self) {
        self.0.reopen().await;
    }

    fn run(check: impl Future<Output = ()>) {
        Apart::run(check);
    }
}

impl LegacyFixture for WithOthers {
    async fn put_legacy(&self, table: Table, document: &Value) {
        // The other code's own ids: a row that Foldback made has another.
        let names = ["tenant", "leadId", table.id_field()];
        let id = names.map(|name| document.get(name).map(ToString::to_string));
        let filter = serde_json::json!({ "_id": format!("{id:?}") });
        let update = serde_json::json!({
            "q": filter, "u": { "$set": document }, "upsert": true,
        });
        // A command's name comes first.
        let update = format!(r#"{{"update": "{}", "updates": [{update}]}}"#, table.name());
        self.answer(&update).await;
    }

    async fn legacy_content(&self, table: Table, id: &str) -> Value {
        let filter = serde_json::json!({ table.id_field(): id, "_id": { "$type": "string" } });
        let find = format!(r#"{{"find": "{}", "filter": {filter}}}"#, table.name());
        let answer = self.answer(&find).await;
        let documents = answer["cursor"]["firstBatch"]
            .as_array()
            .expect("documents");
        assert_eq!(documents.len(), 1, "{documents:?}");
        let mut fields = documents[0].as_object().expect("a document").clone();
        fields.remove("_id");
        fields.remove("trail");
        plain(Value::Object(fields))
    }
}

impl WithOthers {
    async fn answer(&self, command: &str) -> Value {
        let answer = self.ports().tables.run(command).await;
        let answer = answer.expect(command);
        assert!(answer.get("writeErrors").is_none(), "{answer}");
        answer
    }
}

/// Extended JSON as plain JSON, as a program that knows only the fields would see it.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            if let Some(date) = fields.get("$date") {
                return match date.get("$numberLong").and_then(Value::as_str) {
                    Some(ms) => Timestamp::from_ms(ms.parse().expect("a number")).to_string(),
                    None => Timestamp::parse(date.as_str().expect("a date"))
                        .expect("a date")
                        .to_string(),
                }
                .into();
            }
            let field = |(name, value)| (name, plain(value));
            fields.into_iter().map(field).collect()
        }
        Value::Array(items) => items.into_iter().map(plain).collect(),
        scalar @ (Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_)) => scalar,
    }
}

foldback_tests::adoption_suite!(WithOthers);
