//! Replay runs that are under way: what each partition has come to, so that any function can go on.

use std::collections::BTreeMap;

use aws_sdk_dynamodb::types::{AttributeValue, Put, TransactWriteItem, Update};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use smol_str::SmolStr;

use crate::model::{Finding, Group, ReplayRun, Timestamp};
use crate::ports::{Error, ErrorKind};
use crate::service::{Parked, Place, Replayed};

use super::item::{Item, PK, SK, bytes_of, item, text, text_of};
use super::queue::Outgoing;
use super::{Aws, failed};

/// How long a run is kept here. What it found is kept with the rows.
const KEPT_SECONDS: i64 = 7 * 86_400;
/// The most bytes of a chunk of parked events; an item holds 400 KB.
const CHUNK_BYTES: usize = 300_000;
/// The most findings of one partition that are kept; all are counted.
const FINDINGS_MAX: u64 = 1_000;
const BODY: &str = "body";
/// Which call saved a partition.
const SAVE: &str = "save";
/// The partition whose worker sums the run up.
const FINISHER: &str = "finisher";
/// Which call took that on.
const CLAIM: &str = "claim";
/// The run itself; what was parked stands beside it, under keys that begin so.
const HEAD: &str = "head";

/// A run over partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// Its id: the moment it began, and a draw.
    pub id: String,
    /// `report`, `changes` or `update`.
    pub mode: SmolStr,
    /// Of one tenant, or of all.
    pub tenant: Option<SmolStr>,
    /// How many partitions it has.
    pub partitions: u64,
    /// When it began.
    pub started: Timestamp,
}

/// What one partition has come to.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Part {
    /// Where it goes on.
    pub place: Place,
    /// The sums so far.
    pub sums: Replayed,
    /// Differences so far, by class, then by table.
    pub by_class: BTreeMap<SmolStr, BTreeMap<SmolStr, u64>>,
    /// Findings kept so far.
    pub kept: u64,
    /// Whether there is nothing left of it.
    pub done: bool,
    /// Which state this is; another worker's save makes it old.
    #[serde(skip)]
    pub version: u64,
}

/// A message of the queue of partitions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PartOfRun {
    /// The run's id.
    pub run: String,
    /// Which partition of it, from 0.
    pub partition: u64,
}

/// How far a run is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RunState {
    /// Partitions that are done.
    pub done: u64,
    /// The partition whose worker sums the run up, or did, or died at it.
    pub finisher: Option<u64>,
    /// Whether its sums and findings are kept with the rows.
    pub finished: bool,
}

impl Part {
    /// Counts a finding; says whether it is one of those that are kept.
    pub fn take(&mut self, finding: &Finding) -> bool {
        let class = self.by_class.entry(finding.class.name().into());
        let by_table = class.or_default();
        *by_table.entry(finding.table.name().into()).or_default() += 1;
        let keep = self.kept < FINDINGS_MAX;
        self.kept += u64::from(keep);
        keep
    }
}

fn run_key(id: &str) -> String {
    format!("run#{id}")
}

fn part_key(index: u64) -> String {
    format!("part#{index:05}")
}

impl Aws {
    /// A run that begins now. It is not written down yet.
    #[must_use]
    pub fn new_run(&self, mode: &str, tenant: Option<SmolStr>, partitions: u64) -> Run {
        let started = self.clock.now();
        Run {
            id: format!("{started}-{:08x}", fastrand::u32(..)),
            mode: mode.into(),
            tenant,
            partitions,
            started,
        }
    }

    /// Sends partitions of a run to the queue that they are taken from, each as a message of its own.
    ///
    /// # Errors
    /// The queue failed; some may have been sent.
    pub async fn send_parts(&self, queue: &str, run: &str, parts: &[u64]) -> Result<(), Error> {
        let outgoing = parts.iter().map(|partition| {
            let part = PartOfRun {
                run: run.to_owned(),
                partition: *partition,
            };
            Ok(Outgoing::plain(to_text(&part)?))
        });
        let outgoing = outgoing.collect::<Result<Vec<_>, Error>>()?;
        self.send_all(queue, outgoing, "send partitions of a replay run")
            .await
    }

    /// Begins a run: writes it down, its partitions, and the events that are parked at this moment.
    ///
    /// # Errors
    /// The table failed; a run that was half written down is never gone on with.
    pub async fn begin_run(&self, run: &Run, parked: &Parked) -> Result<(), Error> {
        let key = run_key(&run.id);
        let mut items = Vec::new();
        let parked: Vec<(&Group, Vec<String>)> = parked
            .iter()
            .map(|(group, events)| (group, events.iter().map(ToString::to_string).collect()))
            .collect();
        let whole = to_text(&parked)?;
        for (number, chunk) in whole.as_bytes().chunks(CHUNK_BYTES).enumerate() {
            let mut item = self.run_item(&key, &format!("{HEAD}#{number:05}"));
            item.insert(BODY.to_owned(), super::item::bytes(chunk));
            items.push(item);
        }
        for index in 0..run.partitions {
            items.push(self.part_item(&run.id, index, &Part::default())?);
        }
        let mut head = self.run_item(&key, HEAD);
        head.insert(BODY.to_owned(), text(to_text(run)?));
        head.insert("done".to_owned(), AttributeValue::N("0".to_owned()));
        items.push(head);
        let table = &self.names.state_table;
        self.put_all(table, items, "write a replay run down").await
    }

    /// A run, how far it is, and the events that were parked when it began.
    ///
    /// # Errors
    /// The table failed, or there is no such run (any more).
    pub async fn run(&self, id: &str) -> Result<(Run, RunState, Parked), Error> {
        let doing = format!("read the replay run {id}");
        let items = self.items_of_run(id, HEAD, &doing).await?;
        let mut head = None;
        let mut parked = Vec::new();
        for item in &items {
            let sk = text_of(item, SK)?;
            if sk == HEAD {
                head = Some(item);
            } else {
                parked.extend_from_slice(bytes_of(item, BODY)?);
            }
        }
        let Some(head) = head else {
            let why = "there is none of that id; runs are kept for seven days";
            return Err(Error::new(ErrorKind::Reject, doing, why));
        };
        let corrupt = |error| Error::new(ErrorKind::Corrupt, doing.clone(), error);
        let run = from_text(text_of(head, BODY)?, &doing)?;
        let parked: Vec<(Group, Vec<String>)> = serde_json::from_slice(&parked).map_err(corrupt)?;
        let hash = |text: &String| u128::from_str_radix(text, 16).ok();
        let parked = parked.into_iter().map(|(group, events)| {
            let events = events.iter().filter_map(hash);
            (group, events.map(crate::model::EventHash).collect())
        });
        let state = RunState {
            done: number_of(head, "done"),
            finisher: head
                .contains_key(FINISHER)
                .then(|| number_of(head, FINISHER)),
            finished: head.contains_key("finished"),
        };
        Ok((run, state, parked.collect()))
    }

    /// What a partition of a run has come to.
    ///
    /// # Errors
    /// The table failed, or there is no such partition.
    pub async fn part(&self, id: &str, index: u64) -> Result<Part, Error> {
        let doing = format!("read partition {index} of the replay run {id}");
        let Some(item) = self.item_of_part(id, index, &doing).await? else {
            let why = "there is none of that number";
            return Err(Error::new(ErrorKind::Reject, doing, why));
        };
        read_part(&item, &doing)
    }

    /// All partitions of a run.
    ///
    /// # Errors
    /// The table failed.
    pub async fn parts(&self, id: &str) -> Result<Vec<Part>, Error> {
        let doing = format!("read the partitions of the replay run {id}");
        let items = self.items_of_run(id, "part#", &doing).await?;
        items.iter().map(|item| read_part(item, &doing)).collect()
    }

    /// The findings of a run that were kept.
    ///
    /// # Errors
    /// The table failed.
    pub async fn findings_of_run(&self, id: &str) -> Result<Vec<Finding>, Error> {
        let doing = format!("read the findings of the replay run {id}");
        let items = self.items_of_run(id, "finding#", &doing).await?;
        let finding = |item| from_text(text_of(item, BODY)?, &doing);
        items.iter().map(finding).collect()
    }

    /// Saves what a partition has come to, with the findings since it was read; counts it as done the
    /// first time that it is. `false` where another worker saved meanwhile: that one goes on.
    ///
    /// # Errors
    /// The table failed.
    pub async fn save_part(
        &self,
        id: &str,
        index: u64,
        part: &mut Part,
        found: &[Finding],
    ) -> Result<bool, Error> {
        let doing = format!("save partition {index} of the replay run {id}");
        let first = part.kept - found.len() as u64;
        let mut items = Vec::with_capacity(found.len());
        for (number, finding) in (first..).zip(found) {
            let sk = format!("finding#{index:05}#{number:05}");
            let mut item = self.run_item(&run_key(id), &sk);
            item.insert(BODY.to_owned(), text(to_text(finding)?));
            items.push(item);
        }
        self.put_all(&self.names.state_table, items, &doing).await?;
        let before = part.version;
        part.version += 1;
        let save = format!("{:016x}", fastrand::u64(..));
        let mut item = self.part_item(id, index, part)?;
        item.insert(SAVE.to_owned(), text(save.as_str()));
        let put = Put::builder()
            .table_name(&self.names.state_table)
            .set_item(Some(item))
            .condition_expression("version = :before")
            .expression_attribute_values(":before", AttributeValue::N(before.to_string()))
            .build()
            .map_err(super::unbuilt)?;
        let mut writes = vec![TransactWriteItem::builder().put(put).build()];
        if part.done {
            let count = Update::builder()
                .table_name(&self.names.state_table)
                .key(PK, text(run_key(id)))
                .key(SK, text(HEAD))
                .update_expression("ADD done :one")
                .expression_attribute_values(":one", AttributeValue::N("1".to_owned()))
                .build()
                .map_err(super::unbuilt)?;
            writes.push(TransactWriteItem::builder().update(count).build());
        }
        let written = self.dynamo.transact_write_items();
        let written = written.set_transact_items(Some(writes)).send().await;
        match written {
            Ok(_) => Ok(true),
            // A request that the SDK sent twice, because the first answer was lost, finds its own save.
            Err(error) if lost(&error) => {
                let stands = self.item_of_part(id, index, &doing).await?;
                Ok(stands.is_some_and(|item| item.get(SAVE) == Some(&text(save.as_str()))))
            }
            Err(error) => Err(failed(&doing)(error)),
        }
    }

    /// Takes it on to sum a run up, for the worker that has partition `index`, which lives until `until_ms` at the
    /// most, in milliseconds since 1970. `false` where another may be at it: partitions that are done at the same
    /// time are many, and a run is kept once.
    ///
    /// # Errors
    /// The table failed.
    pub async fn claim_finish(&self, id: &str, index: u64, until_ms: i64) -> Result<bool, Error> {
        let number = |value: i64| AttributeValue::N(value.to_string());
        let updated = self
            .dynamo
            .update_item()
            .table_name(&self.names.state_table)
            .key(PK, text(run_key(id)))
            .key(SK, text(HEAD))
            .update_expression(format!(
                "SET {FINISHER} = :index, {CLAIM} = :claim, finisherUntil = :until"
            ))
            // The SDK may send it twice, because the first answer was lost: its own claim stands.
            .condition_expression(format!(
                "attribute_not_exists({FINISHER}) OR {CLAIM} = :claim OR finisherUntil < :now"
            ))
            .expression_attribute_values(":index", AttributeValue::N(index.to_string()))
            .expression_attribute_values(":claim", text(format!("{:016x}", fastrand::u64(..))))
            .expression_attribute_values(":until", number(until_ms))
            .expression_attribute_values(":now", number(self.clock.now().ms()))
            .send()
            .await;
        match updated {
            Ok(_) => Ok(true),
            Err(error) if claimed(&error) => Ok(false),
            Err(error) => Err(failed(&format!("sum the replay run {id} up"))(error)),
        }
    }

    /// Says that a run's sums and findings are kept with the rows.
    ///
    /// # Errors
    /// The table failed.
    pub async fn finish_run(&self, id: &str, number: u64) -> Result<(), Error> {
        let updated = self
            .dynamo
            .update_item()
            .table_name(&self.names.state_table)
            .key(PK, text(run_key(id)))
            .key(SK, text(HEAD))
            .update_expression("SET finished = :number")
            .expression_attribute_values(":number", AttributeValue::N(number.to_string()))
            .send()
            .await;
        updated.map_err(failed(&format!("finish the replay run {id}")))?;
        Ok(())
    }

    async fn item_of_part(&self, id: &str, index: u64, doing: &str) -> Result<Option<Item>, Error> {
        let read = self
            .dynamo
            .get_item()
            .table_name(&self.names.state_table)
            .key(PK, text(run_key(id)))
            .key(SK, text(part_key(index)))
            .consistent_read(true)
            .send()
            .await;
        Ok(read.map_err(failed(doing))?.item)
    }

    async fn items_of_run(&self, id: &str, from: &str, doing: &str) -> Result<Vec<Item>, Error> {
        let query = self
            .dynamo
            .query()
            .table_name(&self.names.state_table)
            .consistent_read(true)
            .expression_attribute_values(":run", text(run_key(id)));
        let query = query
            .key_condition_expression("pk = :run AND begins_with(sk, :from)")
            .expression_attribute_values(":from", text(from));
        let mut pages = query.into_paginator().send();
        let mut items = Vec::new();
        while let Some(page) = pages.next().await {
            items.extend(page.map_err(failed(doing))?.items.unwrap_or_default());
        }
        Ok(items)
    }

    fn run_item(&self, key: &str, sk: &str) -> Item {
        let mut item = item(key, sk);
        let expires = self.clock.now().ms() / 1_000 + KEPT_SECONDS;
        item.insert("expires".to_owned(), AttributeValue::N(expires.to_string()));
        item
    }

    fn part_item(&self, id: &str, index: u64, part: &Part) -> Result<Item, Error> {
        let mut item = self.run_item(&run_key(id), &part_key(index));
        item.insert(BODY.to_owned(), text(to_text(part)?));
        let version = AttributeValue::N(part.version.to_string());
        item.insert("version".to_owned(), version);
        Ok(item)
    }
}

impl Part {
    /// Adds what this partition came to to a run that is to be kept.
    pub fn sum_up(&self, run: &mut ReplayRun) {
        for (class, tables) in &self.by_class {
            let by_table = run.by_class.entry(class.clone()).or_default();
            for (table, count) in tables {
                *by_table.entry(table.clone()).or_default() += count;
            }
        }
    }
}

fn lost(
    error: &aws_sdk_dynamodb::error::SdkError<
        aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError,
        super::failure::Response,
    >,
) -> bool {
    use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError as E;
    match error.as_service_error() {
        Some(E::TransactionCanceledException(cancelled)) => cancelled
            .cancellation_reasons()
            .iter()
            .any(|reason| reason.code() == Some("ConditionalCheckFailed")),
        Some(_) | None => false,
    }
}

fn claimed(
    error: &aws_sdk_dynamodb::error::SdkError<
        aws_sdk_dynamodb::operation::update_item::UpdateItemError,
        super::failure::Response,
    >,
) -> bool {
    error
        .as_service_error()
        .is_some_and(|error| error.is_conditional_check_failed_exception())
}

fn read_part(item: &Item, doing: &str) -> Result<Part, Error> {
    let part: Part = from_text(text_of(item, BODY)?, doing)?;
    Ok(Part {
        version: number_of(item, "version"),
        ..part
    })
}

fn number_of(item: &Item, name: &str) -> u64 {
    let number = item.get(name).and_then(|value| value.as_n().ok());
    number.and_then(|text| text.parse().ok()).unwrap_or(0)
}

fn to_text<T: Serialize>(value: &T) -> Result<String, Error> {
    let doing = "write an item of a replay run";
    serde_json::to_string(value).map_err(|error| Error::new(ErrorKind::Reject, doing, error))
}

fn from_text<T: DeserializeOwned>(text: &str, doing: &str) -> Result<T, Error> {
    let corrupt = |error| Error::new(ErrorKind::Corrupt, doing.to_owned(), error);
    serde_json::from_str(text).map_err(corrupt)
}
