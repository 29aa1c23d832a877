//! Leases: one item a lock. A released one stays without a holder, so that its fence is known, until
//! DynamoDB takes it away by its attribute `expires`, in epoch seconds.

use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::{AttributeValue, ReturnValuesOnConditionCheckFailure};

use crate::model::Timestamp;
use crate::ports::{Error, Lease, LockKey, Locks};

use super::failure::refused_over;
use super::item::{Item, PK, SK, item, number, number_of, text, text_of};
use super::pause::pause;
use super::{Aws, failed};

const HOLDER: &str = "holder";
const FENCE: &str = "fence";
const UNTIL: &str = "held_until";
/// Which call acquired the lease.
const CALL: &str = "acquired_by";
/// How often an acquisition is tried against others that change the lock meanwhile.
const ATTEMPTS_MAX: u32 = 8;

impl Locks for Aws {
    /// One request, won or lost; a second one where the clock is behind the lock's last fence.
    async fn acquire(
        &self,
        key: &LockKey,
        owner: &str,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        let call = format!("{:016x}", fastrand::u64(..));
        let mut wanted = Lease {
            key: key.clone(),
            owner: owner.into(),
            fence: Lease::next_fence(None, now),
            until: now.plus_ms(lease_ms),
        };
        let mut last = None;
        for attempt in 0..ATTEMPTS_MAX {
            let held = match self.take(&wanted, last, &call, now).await? {
                Taken::Yes => return Ok(Some(wanted)),
                Taken::No(Some(held)) => held,
                Taken::No(None) => {
                    // It was forgotten since it was seen.
                    last = None;
                    continue;
                }
            };
            let known = read(&held)?;
            if known.call == Some(call.as_str()) {
                // Of a request that the SDK sent twice.
                return Ok(Some(wanted));
            }
            let held_by_other = known.holder.is_some_and(|holder| holder != owner);
            if held_by_other && known.until > Lease::over_before(now) {
                return Ok(None);
            }
            wanted.fence = Lease::next_fence(Some(known.fence), now);
            last = Some(known.fence);
            if attempt > 0 {
                pause(attempt).await;
            }
        }
        // Others acquired it all the while.
        Ok(None)
    }

    async fn renew(
        &self,
        lease: &Lease,
        lease_ms: i64,
        now: Timestamp,
    ) -> Result<Option<Lease>, Error> {
        let renewed = Lease {
            until: now.plus_ms(lease_ms),
            ..lease.clone()
        };
        let update = self
            .of_lease(lease)
            .update_expression("SET held_until = :until, expires = :expires")
            .expression_attribute_values(":until", number(renewed.until.ms()))
            .expression_attribute_values(":expires", expires(&renewed));
        let held = self.conditional(update, "renew a lock in DynamoDB").await?;
        Ok(held.then_some(renewed))
    }

    async fn release(&self, lease: &Lease) -> Result<(), Error> {
        let update = self
            .of_lease(lease)
            .update_expression("REMOVE holder, acquired_by");
        self.conditional(update, "release a lock in DynamoDB")
            .await?;
        Ok(())
    }
}

/// What became of taking a lock.
enum Taken {
    Yes,
    /// It was not taken, because of what stands there.
    No(Option<Item>),
}

impl Aws {
    /// Takes a lock that is free, over, or its owner's own, and whose fence is `last`, where that is known, or
    /// smaller than the one wanted.
    async fn take(
        &self,
        wanted: &Lease,
        last: Option<u64>,
        call: &str,
        now: Timestamp,
    ) -> Result<Taken, Error> {
        let doing = "acquire a lock in DynamoDB";
        let mut item = item(&partition_of(&wanted.key), "-");
        let (fence, until) = (number(wanted.fence), number(wanted.until.ms()));
        item.insert(HOLDER.to_owned(), text(wanted.owner.as_str()));
        item.insert(FENCE.to_owned(), fence.clone());
        item.insert(UNTIL.to_owned(), until);
        item.insert(CALL.to_owned(), text(call));
        item.insert("expires".to_owned(), expires(wanted));
        let over = number(Lease::over_before(now).ms());
        let may = "(attribute_not_exists(holder) OR holder = :owner OR held_until <= :over)";
        let (grows, fence) = match last {
            None => ("(attribute_not_exists(fence) OR fence < :fence)", fence),
            Some(last) => ("fence = :fence", number(last)),
        };
        let put = self
            .dynamo
            .put_item()
            .table_name(&self.names.state_table)
            .set_item(Some(item))
            .condition_expression(format!("{may} AND {grows}"))
            .expression_attribute_values(":owner", text(wanted.owner.as_str()))
            .expression_attribute_values(":over", over)
            .expression_attribute_values(":fence", fence)
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
            .send()
            .await;
        match put {
            Ok(_) => Ok(Taken::Yes),
            Err(error) => match error.as_service_error() {
                Some(refused) if refused.is_conditional_check_failed_exception() => {
                    Ok(Taken::No(refused_over(refused).cloned()))
                }
                Some(_) | None => Err(failed(doing)(error)),
            },
        }
    }

    /// An update of a lock that this lease still is the last of.
    fn of_lease(&self, lease: &Lease) -> UpdateItemFluentBuilder {
        self.dynamo
            .update_item()
            .table_name(&self.names.state_table)
            .key(PK, text(partition_of(&lease.key)))
            .key(SK, text("-"))
            .condition_expression("fence = :fence AND holder = :owner")
            .expression_attribute_values(":fence", number(lease.fence))
            .expression_attribute_values(":owner", text(lease.owner.as_str()))
    }

    /// Whether an update's condition held.
    async fn conditional(
        &self,
        update: UpdateItemFluentBuilder,
        doing: &str,
    ) -> Result<bool, Error> {
        match update.send().await {
            Ok(_) => Ok(true),
            Err(error) => {
                let refused = error.as_service_error();
                if refused.is_some_and(UpdateItemError::is_conditional_check_failed_exception) {
                    return Ok(false);
                }
                Err(failed(doing)(error))
            }
        }
    }
}

/// No tenant has a `#` in its id, so a tenant's names are its own.
pub(super) fn partition_of(key: &LockKey) -> String {
    format!("lock#{}#{}", key.tenant, key.name)
}

/// When DynamoDB may take the item away.
fn expires(lease: &Lease) -> AttributeValue {
    number(Lease::forget_from(lease.fence, lease.until).ms() / 1_000 + 1)
}

/// What stands in a lock's item.
struct Known<'i> {
    holder: Option<&'i str>,
    fence: u64,
    until: Timestamp,
    call: Option<&'i str>,
}

fn read(item: &Item) -> Result<Known<'_>, Error> {
    let optional = |name: &str| item.contains_key(name).then(|| text_of(item, name));
    Ok(Known {
        holder: optional(HOLDER).transpose()?,
        fence: number_of(item, FENCE)?,
        until: Timestamp::from_ms(number_of(item, UNTIL)?),
        call: optional(CALL).transpose()?,
    })
}
