//! What people ask for, done within the writer's unit of work together with the record of it.

use foldback_console::{Act, Acted, Chosen, Deed};
use shared::adapters::SystemClock;
use shared::model::AuditRecord;
use shared::ports::{Clock, Error, ErrorKind, Letter, Look, Queue, Receipt, SettingsVersions};

use crate::stores::Stores;

/// How many letters are looked at, and moved, at once.
const LETTERS_PAGE: usize = 1_000;
/// The most messages that are looked at for those that are to be tried again.
const MESSAGES_MAX: usize = 100_000;

/// Does it, and keeps the record.
pub(super) async fn act(stores: &Stores, act: &Act) -> Result<Acted, Error> {
    let now = SystemClock.now();
    let count = match &act.deed {
        Deed::Redrive(chosen) => each(stores, act, chosen, Fate::SentBack).await?,
        Deed::Discard(chosen) => each(stores, act, chosen, Fate::ThrownAway).await?,
        Deed::Retry(receipts) => retry(stores, act, receipts).await?,
        Deed::PutSettings(text, format) => stores.events().put(text, *format, now).await?.into(),
        // Others do these.
        Deed::Replay(..) => 0,
    };
    note(stores, &act.record(count, now))?;
    Ok(Acted::of(count))
}

/// Keeps the record of a deed with the events, wherever the rows are.
pub(super) fn note(stores: &Stores, record: &AuditRecord) -> Result<(), Error> {
    let local = stores.local();
    let elsewhere = |_| {
        Error::new(
            ErrorKind::Reject,
            "keep an audit record",
            "not on this machine",
        )
    };
    local.map_err(elsewhere)?.note(record)
}

#[derive(Clone, Copy)]
enum Fate {
    SentBack,
    ThrownAway,
}

/// The letters that are chosen, as far as they may be touched.
async fn each(stores: &Stores, act: &Act, chosen: &Chosen, fate: Fate) -> Result<u64, Error> {
    let events = stores.events();
    let is_chosen = |letter: &Letter| {
        let own = act
            .tenant
            .as_ref()
            .is_none_or(|own| letter.message.group.tenant == *own);
        own && match chosen {
            Chosen::All => true,
            Chosen::These(letters) => letters.contains(&letter.id),
        }
    };
    let (mut after, mut count) = (0, 0);
    loop {
        let page = events.dead_letters(after, LETTERS_PAGE).await?;
        let Some(last) = page.last() else {
            return Ok(count);
        };
        after = last.id;
        let chosen: Vec<u128> = page
            .iter()
            .filter(|one| is_chosen(one))
            .map(|one| one.id)
            .collect();
        count += match fate {
            Fate::SentBack => events.redrive(&chosen, SystemClock.now()).await?,
            Fate::ThrownAway => events.discard(&chosen).await?,
        };
    }
}

/// Makes messages visible, as far as they may be touched.
async fn retry(stores: &Stores, act: &Act, receipts: &[Receipt]) -> Result<u64, Error> {
    let elsewhere = |_| {
        Error::new(
            ErrorKind::Reject,
            "look into the queue",
            "not on this machine",
        )
    };
    let look = Look {
        tenant: act.tenant.clone(),
        from: None,
        limit: MESSAGES_MAX,
        examine: MESSAGES_MAX,
    };
    let queued = stores
        .local()
        .map_err(elsewhere)?
        .queued(&look)?
        .items
        .into_iter();
    let found: Vec<Receipt> = queued
        .map(|one| one.receipt)
        .filter(|one| receipts.contains(one))
        .collect();
    stores
        .events()
        .hide_until(&found, SystemClock.now())
        .await?;
    Ok(found.len() as u64)
}
