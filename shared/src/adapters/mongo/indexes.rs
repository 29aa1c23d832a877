use futures_util::TryStreamExt;
use mongodb::IndexModel;
use mongodb::bson::{Bson, Document, doc};
use mongodb::options::IndexOptions;
use smol_str::SmolStr;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::model::{IndexCheck, IndexUse, MissingIndex, QueryPlan, Timestamp, UnusedIndex};
use crate::ports::{Error, Indexes};

use super::document::TRAIL;
use super::{Mongo, conversions, export, failed, hierarchies, images, reports, tables};

const CHECKING: &str = "check the indexes in MongoDB";
const CREATING: &str = "make indexes in MongoDB";
/// How many rows a trial asks for by their keys.
const SAMPLES: i64 = 20;
/// The index that every collection has by itself.
const OWN: &str = "_id_";

/// An index; declared beside the queries that need it.
#[derive(Debug, Clone)]
pub(super) struct Index {
    pub(super) collection: &'static str,
    pub(super) name: &'static str,
    pub(super) keys: Document,
    pub(super) kind: Kind,
}

/// What an index is for besides finding documents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Nothing.
    Plain,
    /// No two documents that have the field have it alike.
    Unique,
    /// The server deletes documents when the date in the field is past.
    Expiry,
}

/// A query as it is run, to be explained.
#[derive(Debug, Clone)]
pub(super) struct Query {
    pub(super) name: String,
    pub(super) collection: &'static str,
    /// The name of its index; `None` where the whole collection is what it is for.
    pub(super) needs: Option<&'static str>,
    pub(super) filter: Document,
    pub(super) sort: Document,
}

/// Values that stand in a collection, to try its queries with.
#[derive(Debug, Clone, Default)]
pub(super) struct Samples {
    pub(super) keys: Vec<String>,
    pub(super) groups: Vec<String>,
    pub(super) first: Document,
}

impl Index {
    fn model(&self) -> IndexModel {
        let mut options = IndexOptions::builder().name(self.name.to_owned()).build();
        match self.kind {
            Kind::Plain => {}
            Kind::Unique => {
                options.unique = Some(true);
                options.sparse = Some(true);
            }
            Kind::Expiry => options.expire_after = Some(Duration::ZERO),
        }
        let model = IndexModel::builder().keys(self.keys.clone());
        model.options(options).build()
    }

    /// Whether an index that exists is this one, as it is declared.
    fn is(&self, model: &IndexModel) -> bool {
        let Some(options) = &model.options else {
            return false;
        };
        let unique = options.unique.unwrap_or(false);
        options.name.as_deref() == Some(self.name)
            && same_keys(&model.keys, &self.keys)
            && unique == (self.kind == Kind::Unique)
            && options.expire_after.is_some() == (self.kind == Kind::Expiry)
    }
}

/// Directions come back as any kind of number.
fn same_keys(a: &Document, b: &Document) -> bool {
    let keys = |keys: &Document| -> Vec<(String, String)> {
        let direction = |value: &Bson| value.to_string().trim_end_matches(".0").to_owned();
        keys.iter()
            .map(|(name, value)| (name.clone(), direction(value)))
            .collect()
    };
    keys(a) == keys(b)
}

/// All indexes, of all modules.
fn declared() -> Vec<Index> {
    let mut all = tables::indexes();
    all.extend(conversions::indexes());
    all.extend(hierarchies::indexes());
    all.extend(images::indexes());
    all.extend(reports::indexes());
    all
}

impl Indexes for Mongo {
    async fn create_indexes(&self) -> Result<Vec<SmolStr>, Error> {
        let mut created = Vec::new();
        for (collection, indexes) in by_collection() {
            let existing = self.existing(collection).await?;
            let missing = |index: &&Index| !existing.iter().any(|one| index.is(one));
            for index in indexes.iter().filter(missing) {
                self.create(index, &existing).await?;
                created.push(format!("{collection}.{}", index.name).into());
            }
        }
        created.extend(self.mend_places().await?);
        Ok(created)
    }

    async fn check_indexes(&self) -> Result<IndexCheck, Error> {
        // The trials below would count as uses.
        let mut check = IndexCheck {
            usage: self.usage().await?,
            ..IndexCheck::default()
        };
        let queries = self.queries().await?;
        for query in &queries {
            check.plans.push(self.explain(query).await?);
        }
        for (collection, indexes) in by_collection() {
            let existing = self.existing(collection).await?;
            for index in &indexes {
                if !existing.iter().any(|one| index.is(one)) {
                    check.missing.push(missing(index, &queries));
                }
            }
            for one in &existing {
                let name = one
                    .options
                    .as_ref()
                    .and_then(|options| options.name.clone());
                let name = name.unwrap_or_default();
                if name != OWN && !indexes.iter().any(|index| index.name == name) {
                    check.unused.push(UnusedIndex {
                        table: collection.into(),
                        index: name.into(),
                    });
                }
            }
        }
        check.derived.push(self.check_places().await?);
        Ok(check)
    }
}

fn missing(index: &Index, queries: &[Query]) -> MissingIndex {
    let of_index =
        |query: &&Query| query.collection == index.collection && query.needs == Some(index.name);
    MissingIndex {
        table: index.collection.into(),
        index: index.name.into(),
        queries: queries
            .iter()
            .filter(of_index)
            .map(|query| query.name.as_str().into())
            .collect(),
    }
}

fn by_collection() -> BTreeMap<&'static str, Vec<Index>> {
    let mut all: BTreeMap<&'static str, Vec<Index>> = BTreeMap::new();
    for index in declared() {
        all.entry(index.collection).or_default().push(index);
    }
    all
}

impl Mongo {
    /// Makes collections and indexes where there are none of their names. One that is not as it is
    /// declared is left for [`Indexes::check_indexes`] to find.
    ///
    /// # Errors
    /// The store failed, or its user may not do this.
    pub async fn prepare(&self) -> Result<(), Error> {
        for (collection, indexes) in by_collection() {
            let existing = self.existing(collection).await?;
            let name = |one: &IndexModel| one.options.as_ref().and_then(|known| known.name.clone());
            let names: Vec<String> = existing.iter().filter_map(name).collect();
            let missing: Vec<IndexModel> = indexes
                .iter()
                .filter(|index| !names.iter().any(|name| name == index.name))
                .map(Index::model)
                .collect();
            if !missing.is_empty() {
                let collection = self.database.collection::<Document>(collection);
                let made = collection.create_indexes(missing).await;
                made.map_err(failed(CREATING))?;
            }
        }
        Ok(())
    }

    /// How often each index was used; `None` where the server does not know `$indexStats`, or its user may not
    /// ask (<https://www.mongodb.com/docs/manual/reference/operator/aggregation/indexStats/>).
    async fn usage(&self) -> Result<Option<Vec<IndexUse>>, Error> {
        let mut uses = Vec::new();
        for collection in by_collection().into_keys() {
            let asked = self.database.collection::<Document>(collection);
            let asked = asked.aggregate([doc! { "$indexStats": {} }]).await;
            let counted: Vec<Document> = match asked {
                Ok(cursor) => cursor.try_collect().await.map_err(failed(CHECKING))?,
                Err(error) if is_refused(&error) => return Ok(None),
                Err(error) => return Err(failed(CHECKING)(error)),
            };
            for one in counted {
                let accesses = one.get_document("accesses").ok();
                let operations = accesses.and_then(|accesses| number(accesses.get("ops")?));
                let since = accesses.and_then(|accesses| accesses.get_datetime("since").ok());
                let (Some(operations), Some(since)) = (operations, since) else {
                    return Ok(None);
                };
                uses.push(IndexUse {
                    table: collection.into(),
                    index: one.get_str("name").unwrap_or_default().into(),
                    operations,
                    since: Timestamp::from_ms(since.timestamp_millis()),
                });
            }
        }
        Ok(Some(uses))
    }

    async fn existing(&self, collection: &str) -> Result<Vec<IndexModel>, Error> {
        let collection = self.database.collection::<Document>(collection);
        match collection.list_indexes().await {
            Ok(cursor) => cursor.try_collect().await.map_err(failed(CHECKING)),
            Err(error) if is_no_collection(&error) => Ok(Vec::new()),
            Err(error) => Err(failed(CHECKING)(error)),
        }
    }

    /// Makes an index, in the place of one of its name that is not as declared.
    async fn create(&self, index: &Index, existing: &[IndexModel]) -> Result<(), Error> {
        let collection = self.database.collection::<Document>(index.collection);
        let other = existing.iter().any(|one| {
            let options = one.options.as_ref();
            options.is_some_and(|options| options.name.as_deref() == Some(index.name))
        });
        if other {
            let dropped = collection.drop_index(index.name).await;
            dropped.map_err(failed(CREATING))?;
        }
        let made = collection.create_index(index.model()).await;
        made.map(|_name| ()).map_err(failed(CREATING))
    }

    /// Every query that the store runs, with values to try it with.
    async fn queries(&self) -> Result<Vec<Query>, Error> {
        let mut queries = Vec::new();
        for collection in by_collection().into_keys() {
            let samples = self.samples(collection).await?;
            for of_module in [
                tables::queries,
                conversions::queries,
                hierarchies::queries,
                images::queries,
                reports::queries,
                export::queries,
            ] {
                queries.extend(of_module(collection, &samples));
            }
        }
        Ok(queries)
    }

    async fn samples(&self, collection: &str) -> Result<Samples, Error> {
        let cursor = self
            .read_from(collection)
            .find(doc! {})
            .limit(SAMPLES)
            .await;
        let cursor = cursor.map_err(failed(CHECKING))?;
        let documents: Vec<Document> = cursor.try_collect().await.map_err(failed(CHECKING))?;
        let of_trail = |name: &str| -> Vec<String> {
            let text = |document: &Document| {
                let trail = document.get_document(TRAIL).ok()?;
                trail.get_str(name).ok().map(str::to_owned)
            };
            documents.iter().filter_map(text).collect()
        };
        Ok(Samples {
            keys: of_trail("key"),
            groups: of_trail("group"),
            first: documents.into_iter().next().unwrap_or_default(),
        })
    }

    async fn explain(&self, query: &Query) -> Result<QueryPlan, Error> {
        let mut find = doc! { "find": query.collection, "filter": query.filter.clone() };
        if !query.sort.is_empty() {
            find.insert("sort", query.sort.clone());
        }
        let explain = doc! { "explain": find, "verbosity": "executionStats" };
        let explained = self.database.run_command(explain).await;
        let explained = explained.map_err(failed(CHECKING))?;
        let plan = explained
            .get_document("queryPlanner")
            .and_then(|planner| planner.get_document("winningPlan"))
            .cloned()
            .unwrap_or_default();
        let mut stages = Stages::default();
        stages.walk(&Bson::Document(plan));
        let stats = explained.get_document("executionStats").ok();
        let number = |name: &str| number(stats?.get(name)?);
        let keys = number("totalKeysExamined");
        let examined = keys.zip(number("totalDocsExamined"));
        Ok(QueryPlan {
            query: query.name.as_str().into(),
            table: query.collection.into(),
            needs: query.needs.unwrap_or(QueryPlan::WHOLE_PASS).into(),
            uses: stages.index.filter(|_| !stages.scans).map(SmolStr::from),
            examined: examined.map(|(keys, documents)| keys + documents),
            returned: number("nReturned"),
            explained: stages.names.join(" < "),
        })
    }
}

/// The stages of a plan, the last first.
#[derive(Default)]
struct Stages {
    names: Vec<String>,
    index: Option<String>,
    scans: bool,
}

impl Stages {
    fn walk(&mut self, value: &Bson) {
        if let Bson::Document(stage) = value {
            if let Ok(name) = stage.get_str("stage") {
                self.scans |= name == "COLLSCAN";
                self.names.push(name.to_owned());
            }
            if let (None, Ok(name)) = (&self.index, stage.get_str("indexName")) {
                self.index = Some(name.to_owned());
            }
            stage.values().for_each(|inner| self.walk(inner));
        } else if let Bson::Array(stages) = value {
            stages.iter().for_each(|stage| self.walk(stage));
        }
    }
}

fn number(value: &Bson) -> Option<u64> {
    if let Bson::Double(number) = value {
        return format!("{number:.0}").parse().ok();
    }
    let whole = value.as_i64().or_else(|| value.as_i32().map(i64::from));
    u64::try_from(whole?).ok()
}

/// Whether the server answered that it does not do this, or not for this user.
fn is_refused(error: &mongodb::error::Error) -> bool {
    matches!(error.kind.as_ref(), mongodb::error::ErrorKind::Command(_))
}

/// The server's word for a collection that nobody made: `NamespaceNotFound`.
fn is_no_collection(error: &mongodb::error::Error) -> bool {
    const NAMESPACE_NOT_FOUND: i32 = 26;
    let mongodb::error::ErrorKind::Command(command) = error.kind.as_ref() else {
        return false;
    };
    command.code == NAMESPACE_NOT_FOUND
}
