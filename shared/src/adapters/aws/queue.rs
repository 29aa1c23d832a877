use std::collections::BTreeMap;

use aws_sdk_sqs::types::{
    BatchResultErrorEntry, ChangeMessageVisibilityBatchRequestEntry,
    DeleteMessageBatchRequestEntry, Message as SqsMessage, MessageAttributeValue,
    MessageSystemAttributeName, MessageSystemAttributeNameForSends, MessageSystemAttributeValue,
    QueueAttributeName, SendMessageBatchRequestEntry,
};
use smol_str::SmolStr;

use crate::model::{Depth, EventHash, Group, Timestamp};
use crate::ports::{Error, ErrorKind, Letter, Message, Queue, Receipt, Received, Waiting};
use crate::trace::{Journey, TraceContext};

use super::failure::unfinished;
use super::pause::{ATTEMPTS_MAX, pause};
use super::{Aws, body, failed, side_by_side};

/// The most entries of one batch request, and the most messages of one receive.
pub(super) const BATCH_MAX: usize = 10;
/// The most bytes of one message and of one batch, with some to spare for attributes
/// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/quotas-messages.html>).
const BATCH_BYTES_MAX: usize = 1_000_000;
/// How many requests are under way at once.
pub(super) const AT_ONCE: usize = 16;
/// How long a look at a queue waits for messages.
const LOOK_WAIT_SECONDS: i32 = 1;
/// The longest time SQS hides a message for.
const HIDE_SECONDS_MAX: i64 = 43_200;
/// The attribute that says why a message was parked.
pub(super) const REASON: &str = "reason";
/// The attribute that names the place in a trace (<https://www.w3.org/TR/trace-context/>).
const TRACEPARENT: &str = "traceparent";
/// What names, types and values of the attributes take at most, apart from the reason itself.
const ATTRIBUTES_BYTES: usize = 192;
/// The most bytes of a reason.
const REASON_BYTES_MAX: usize = 4_096;

impl Queue for Aws {
    /// In waves, each with one message a group: where a batch fails in part, no message of a group has
    /// overtaken another.
    async fn send(&self, messages: &[Message], _now: Timestamp) -> Result<(), Error> {
        let doing = "send messages to SQS";
        let mut turns: BTreeMap<&Group, usize> = BTreeMap::new();
        let mut waves: Vec<Vec<Outgoing>> = Vec::new();
        for message in messages {
            let turn = turns.entry(&message.group).or_default();
            let outgoing = Outgoing::new(message, doing)?;
            match waves.get_mut(*turn) {
                Some(wave) => wave.push(outgoing),
                None => waves.push(vec![outgoing]),
            }
            *turn += 1;
        }
        for wave in waves {
            self.send_all(&self.names.queue_url, wave, doing).await?;
        }
        Ok(())
    }

    async fn receive(&self, limit: usize, _now: Timestamp) -> Result<Vec<Received>, Error> {
        let mut received = Vec::new();
        while received.len() < limit {
            let ask = (limit - received.len()).min(BATCH_MAX);
            let page = self.receive_from(&self.names.queue_url, ask, None).await;
            let page = match page {
                Ok(page) => page,
                // What came before is in hand now, and would be hidden for nothing.
                Err(_later) if !received.is_empty() => break,
                Err(error) => return Err(error),
            };
            let count = page.len();
            let (readable, unreadable) = read_all(page);
            received.extend(readable);
            self.park_unreadable(unreadable).await?;
            if count < ask {
                break;
            }
        }
        Ok(received)
    }

    async fn delete(&self, receipts: &[Receipt]) -> Result<(), Error> {
        self.delete_from(&self.names.queue_url, receipts).await
    }

    async fn hide_until(&self, receipts: &[Receipt], at: Timestamp) -> Result<(), Error> {
        // Rounded up: a message that comes too early is worse than one that comes a moment later.
        let ms = at.ms_since(self.clock.now());
        let seconds = ms.max(0).saturating_add(999) / 1_000;
        let seconds = seconds.min(HIDE_SECONDS_MAX);
        self.hide_in(
            &self.names.queue_url,
            receipts,
            i32::try_from(seconds).unwrap_or(0),
        )
        .await
    }

    async fn park(&self, letters: &[(Message, String)], now: Timestamp) -> Result<(), Error> {
        let doing = "send messages to the dead-letter queue";
        let outgoing = letters
            .iter()
            .map(|(message, reason)| Ok(Outgoing::new(message, doing)?.parked(reason, now)));
        let outgoing = outgoing.collect::<Result<Vec<_>, Error>>()?;
        self.send_all(&self.names.dlq_url, outgoing, doing).await
    }

    async fn dead_letters(&self, after: u128, limit: usize) -> Result<Vec<Letter>, Error> {
        self.look_at_letters(after, limit).await
    }

    async fn redrive(&self, letters: &[u128], _now: Timestamp) -> Result<u64, Error> {
        self.redrive_letters(letters).await
    }

    async fn discard(&self, letters: &[u128]) -> Result<u64, Error> {
        self.discard_letters(letters).await
    }

    async fn depth(&self, _now: Timestamp) -> Result<Depth, Error> {
        let (visible, in_flight) = self.counts(&self.names.queue_url).await?;
        let (dead, looked_at) = self.counts(&self.names.dlq_url).await?;
        Ok(Depth {
            visible,
            in_flight,
            dead: dead + looked_at,
        })
    }
}

impl Waiting for Aws {
    /// SQS shows nobody what waits: nothing is known.
    async fn waiting(&self, groups: &[Group]) -> Result<Vec<Vec<crate::model::Entry>>, Error> {
        Ok(vec![Vec::new(); groups.len()])
    }
}

/// A message as it goes out.
pub(super) struct Outgoing {
    /// Message group and deduplication id; only a FIFO queue takes them.
    pub(super) fifo: Option<(String, String)>,
    pub(super) body: String,
    pub(super) reason: Option<String>,
    /// The trace of its first event: a message of several traces can name one only.
    pub(super) context: Option<TraceContext>,
}

impl Outgoing {
    fn new(message: &Message, doing: &str) -> Result<Self, Error> {
        let body = body::encode(message)
            .map_err(|error| Error::new(ErrorKind::Reject, doing.to_owned(), error))?;
        if body.len() > BATCH_BYTES_MAX {
            let why = format!(
                "the message has {} bytes; at most {BATCH_BYTES_MAX} can be sent",
                body.len()
            );
            return Err(Error::new(ErrorKind::Reject, doing.to_owned(), why));
        }
        Ok(Self {
            fifo: Some((
                body::group_id(&message.group),
                format!("{:032x}", message.deduplication_id),
            )),
            body,
            reason: None,
            context: context(message),
        })
    }

    /// A text for a queue that is not FIFO.
    pub(super) fn plain(body: String) -> Self {
        Self {
            fifo: None,
            body,
            reason: None,
            context: None,
        }
    }

    /// As it goes to the dead-letter queue. Each in a group of its own: a look at the queue shows no more
    /// than ten of a group. Under an id that no earlier letter had: one that was parked, sent back and is
    /// parked again within five minutes must not be swallowed.
    pub(super) fn parked(mut self, reason: &str, now: Timestamp) -> Self {
        let number = format!("{}-{:016x}", now.ms(), fastrand::u64(..));
        let id = EventHash::of(&self.body, &number).to_string();
        self.fifo = Some((format!("#{id}"), id));
        self.reason = Some(sayable(reason));
        self
    }

    fn size(&self) -> usize {
        self.body.len() + self.reason.as_ref().map_or(0, String::len) + ATTRIBUTES_BYTES
    }

    /// With `xray` its trace goes on in X-Ray too.
    fn entry(&self, place: usize, xray: bool) -> Result<SendMessageBatchRequestEntry, Error> {
        let text = |value: &str| {
            let value = MessageAttributeValue::builder()
                .data_type("String")
                .string_value(value);
            value.build().map_err(unbuilt)
        };
        let reason = self.reason.iter().map(|reason| (REASON, reason.clone()));
        let context = self
            .context
            .iter()
            .map(|one| (TRACEPARENT, one.to_string()));
        let attributes = reason.chain(context);
        let attributes = attributes.map(|(name, value)| Ok((name.to_owned(), text(&value)?)));
        let attributes = attributes.collect::<Result<_, Error>>()?;
        let header = self.context.filter(|_| xray).map(|context| {
            let value = MessageSystemAttributeValue::builder()
                .data_type("String")
                .string_value(context.xray());
            let name = MessageSystemAttributeNameForSends::AwsTraceHeader;
            Ok((name, value.build().map_err(unbuilt)?))
        });
        let header = header.transpose()?.map(|header| [header].into());
        SendMessageBatchRequestEntry::builder()
            .id(place.to_string())
            .message_body(&self.body)
            .set_message_group_id(self.fifo.as_ref().map(|(group, _)| group.clone()))
            .set_message_deduplication_id(self.fifo.as_ref().map(|(_, id)| id.clone()))
            .set_message_attributes(Some(attributes))
            .set_message_system_attributes(header)
            .build()
            .map_err(unbuilt)
    }
}

/// The place in a trace that a message goes on from: that of its first event.
pub(super) fn context(message: &Message) -> Option<TraceContext> {
    let first = message.entries.first();
    first.map(|entry| Journey::of(entry).created())
}

/// A request that lacks something: a fault of ours.
pub(super) fn unbuilt(error: aws_sdk_sqs::error::BuildError) -> Error {
    Error::new(ErrorKind::Reject, "build a request to SQS", error)
}

/// A reason as an attribute can hold it: not empty, not too long, without characters that XML lacks.
fn sayable(reason: &str) -> String {
    let legal = |c: char| match c {
        '\t' | '\n' | '\r' => c,
        '\u{fffe}' | '\u{ffff}' => '\u{fffd}',
        other if other < ' ' => '\u{fffd}',
        other => other,
    };
    let mut text: String = reason.chars().map(legal).collect();
    let mut end = REASON_BYTES_MAX.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text.truncate(end);
    if text.is_empty() {
        text.push_str("unknown");
    }
    text
}

/// Those that are messages of ours, and the others with the reason.
pub(super) fn read_all(page: Vec<SqsMessage>) -> (Vec<Received>, Vec<(SqsMessage, String)>) {
    let mut readable = Vec::new();
    let mut unreadable = Vec::new();
    for raw in page {
        match read(&raw) {
            Ok(received) => readable.push(received),
            Err(why) => unreadable.push((raw, super::chain(&why))),
        }
    }
    (readable, unreadable)
}

fn read(raw: &SqsMessage) -> Result<Received, body::Unreadable> {
    let message = body::decode(raw.body().unwrap_or_default())?;
    Ok(Received {
        message,
        receipt: receipt(raw),
        receives: attribute(raw, &MessageSystemAttributeName::ApproximateReceiveCount).unwrap_or(1),
        sent: sent(raw),
    })
}

pub(super) fn receipt(raw: &SqsMessage) -> Receipt {
    Receipt(SmolStr::from(raw.receipt_handle().unwrap_or_default()))
}

pub(super) fn sent(raw: &SqsMessage) -> Timestamp {
    let ms = attribute(raw, &MessageSystemAttributeName::SentTimestamp);
    Timestamp::from_ms(ms.unwrap_or(0))
}

/// A number that SQS says of a message.
pub(super) fn attribute<T: std::str::FromStr>(
    raw: &SqsMessage,
    name: &MessageSystemAttributeName,
) -> Option<T> {
    raw.attributes()?.get(name)?.parse().ok()
}

impl Aws {
    /// Sends messages of which no two are of one group, batches side by side; what a batch leaves undone
    /// is sent again.
    pub(super) async fn send_all(
        &self,
        queue: &str,
        messages: Vec<Outgoing>,
        doing: &str,
    ) -> Result<(), Error> {
        let mut batches: Vec<Vec<Outgoing>> = Vec::new();
        let mut bytes = 0;
        for message in messages {
            bytes += message.size();
            match batches.last_mut() {
                Some(batch) if batch.len() < BATCH_MAX && bytes <= BATCH_BYTES_MAX => {
                    batch.push(message);
                }
                Some(_) | None => {
                    bytes = message.size();
                    batches.push(vec![message]);
                }
            }
        }
        let mut sends = Vec::with_capacity(batches.len());
        for batch in batches {
            sends.push(self.send_batch(queue, batch, doing));
        }
        side_by_side(sends, AT_ONCE).await?;
        Ok(())
    }

    async fn send_batch(
        &self,
        queue: &str,
        batch: Vec<Outgoing>,
        doing: &str,
    ) -> Result<(), Error> {
        to_the_last(doing, batch, |batch| {
            let entries = batch.iter().enumerate();
            let entries = entries.map(|(place, one)| one.entry(place, self.xray));
            let entries = entries.collect::<Result<Vec<_>, Error>>()?;
            let request = self.sqs.send_message_batch().queue_url(queue);
            let request = request.set_entries(Some(entries));
            Ok(async move {
                let left = request.send().await.map_err(failed(doing))?.failed;
                match left.iter().find(|one| one.sender_fault) {
                    Some(refused) => Err(Error::new(ErrorKind::Reject, doing, said(refused))),
                    None => Ok(left),
                }
            })
        })
        .await
    }

    /// Up to `limit` messages of a queue; hidden for so many seconds, else as the queue is set up.
    ///
    /// Who says for how long looks for all there is, and an empty answer to a short poll would not mean that
    /// there is nothing: only a long poll asks all of SQS's servers
    /// (<https://docs.aws.amazon.com/AWSSimpleQueueService/latest/SQSDeveloperGuide/sqs-short-and-long-polling.html>).
    pub(super) async fn receive_from(
        &self,
        queue: &str,
        limit: usize,
        hidden_seconds: Option<i32>,
    ) -> Result<Vec<SqsMessage>, Error> {
        let received = self
            .sqs
            .receive_message()
            .queue_url(queue)
            .max_number_of_messages(i32::try_from(limit.min(BATCH_MAX)).unwrap_or(1))
            .message_system_attribute_names(MessageSystemAttributeName::All)
            .message_attribute_names("All")
            .set_visibility_timeout(hidden_seconds)
            .set_wait_time_seconds(hidden_seconds.map(|_looks| LOOK_WAIT_SECONDS))
            .send()
            .await;
        let received = received.map_err(failed("receive messages from SQS"))?;
        Ok(received.messages.unwrap_or_default())
    }

    pub(super) async fn delete_from(&self, queue: &str, receipts: &[Receipt]) -> Result<(), Error> {
        let mut deletes = Vec::new();
        for batch in receipts.chunks(BATCH_MAX) {
            deletes.push(self.delete_batch(queue, batch.to_vec()));
        }
        side_by_side(deletes, AT_ONCE).await?;
        Ok(())
    }

    async fn delete_batch(&self, queue: &str, batch: Vec<Receipt>) -> Result<(), Error> {
        let doing = "delete messages from SQS";
        to_the_last(doing, batch, |batch| {
            let entries = batch.iter().enumerate().map(|(place, receipt)| {
                DeleteMessageBatchRequestEntry::builder()
                    .id(place.to_string())
                    .receipt_handle(receipt.0.as_str())
                    .build()
                    .map_err(unbuilt)
            });
            let entries = entries.collect::<Result<Vec<_>, Error>>()?;
            let request = self.sqs.delete_message_batch().queue_url(queue);
            let request = request.set_entries(Some(entries));
            Ok(async move { Ok(passing(request.send().await.map_err(failed(doing))?.failed)) })
        })
        .await
    }

    /// Hides received messages for so many seconds from now; 0 shows them.
    pub(super) async fn hide_in(
        &self,
        queue: &str,
        receipts: &[Receipt],
        seconds: i32,
    ) -> Result<(), Error> {
        let mut hides = Vec::new();
        for batch in receipts.chunks(BATCH_MAX) {
            hides.push(self.hide_batch(queue, batch.to_vec(), seconds));
        }
        side_by_side(hides, AT_ONCE).await?;
        Ok(())
    }

    async fn hide_batch(
        &self,
        queue: &str,
        batch: Vec<Receipt>,
        seconds: i32,
    ) -> Result<(), Error> {
        let doing = "change how long messages of SQS are hidden";
        to_the_last(doing, batch, |batch| {
            let entries = batch.iter().enumerate().map(|(place, receipt)| {
                ChangeMessageVisibilityBatchRequestEntry::builder()
                    .id(place.to_string())
                    .receipt_handle(receipt.0.as_str())
                    .visibility_timeout(seconds)
                    .build()
                    .map_err(unbuilt)
            });
            let entries = entries.collect::<Result<Vec<_>, Error>>()?;
            let request = self.sqs.change_message_visibility_batch().queue_url(queue);
            let request = request.set_entries(Some(entries));
            Ok(async move { Ok(passing(request.send().await.map_err(failed(doing))?.failed)) })
        })
        .await
    }

    /// How many messages are visible and how many in flight.
    async fn counts(&self, queue: &str) -> Result<(u64, u64), Error> {
        let names = [
            QueueAttributeName::ApproximateNumberOfMessages,
            QueueAttributeName::ApproximateNumberOfMessagesNotVisible,
        ];
        let asked = self
            .sqs
            .get_queue_attributes()
            .queue_url(queue)
            .set_attribute_names(Some(names.to_vec()))
            .send()
            .await
            .map_err(failed("ask SQS how many messages there are"))?;
        let [visible, in_flight] = names.map(|name| {
            let all = asked.attributes();
            all.and_then(|all| all.get(&name)?.parse().ok())
                .unwrap_or(0)
        });
        Ok((visible, in_flight))
    }

    /// Moves messages that say nothing to us to the dead-letter queue: left where they are, they would
    /// hold their groups up until their receives are spent.
    async fn park_unreadable(&self, unreadable: Vec<(SqsMessage, String)>) -> Result<(), Error> {
        if unreadable.is_empty() {
            return Ok(());
        }
        let receipts: Vec<Receipt> = unreadable.iter().map(|(raw, _)| receipt(raw)).collect();
        let letters = unreadable.into_iter();
        let letters = letters.map(|(raw, why)| (raw.body.unwrap_or_default(), why));
        self.park_texts(letters.collect()).await?;
        self.delete(&receipts).await
    }

    /// Puts texts that say nothing to us into the dead-letter queue, each with the reason.
    ///
    /// # Errors
    /// The queue failed.
    pub async fn park_texts(&self, texts: Vec<(String, String)>) -> Result<(), Error> {
        let doing = "send messages to the dead-letter queue";
        let now = self.clock.now();
        let outgoing = texts.into_iter();
        let outgoing = outgoing.map(|(text, why)| Outgoing::plain(text).parked(&why, now));
        let outgoing = outgoing.collect();
        self.send_all(&self.names.dlq_url, outgoing, doing).await
    }
}

/// Requests a batch and, as long as some of it is left undone, that again after a pause.
async fn to_the_last<T, F>(
    doing: &str,
    mut batch: Vec<T>,
    request: impl Fn(&[T]) -> Result<F, Error>,
) -> Result<(), Error>
where
    F: Future<Output = Result<Vec<BatchResultErrorEntry>, Error>>,
{
    for attempt in 0..ATTEMPTS_MAX {
        let left = request(&batch)?.await?;
        batch = keep(batch, &left);
        if batch.is_empty() {
            return Ok(());
        }
        pause(attempt).await;
    }
    Err(unfinished(doing, batch.len()))
}

/// Those of a batch that it left undone.
fn keep<T>(batch: Vec<T>, left: &[BatchResultErrorEntry]) -> Vec<T> {
    let is_left = |place: usize| left.iter().any(|one| one.id == place.to_string());
    let numbered = batch.into_iter().enumerate();
    numbered
        .filter(|(place, _)| is_left(*place))
        .map(|(_, one)| one)
        .collect()
}

/// Those that are worth another try. A receipt that is no longer valid is not: somebody else has the
/// message, or it is gone.
fn passing(mut left: Vec<BatchResultErrorEntry>) -> Vec<BatchResultErrorEntry> {
    left.retain(|one| !one.sender_fault);
    left
}

fn said(refused: &BatchResultErrorEntry) -> String {
    let message = refused.message().unwrap_or("no reason given");
    format!("{}: {message}", refused.code)
}
