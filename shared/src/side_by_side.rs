//! Work without effects, on two cores where there are two.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Fewer items are done before another thread has begun.
const ITEMS_MIN: usize = 128;
/// Items that a thread takes at once: some weigh more than others.
const ITEMS_AT_ONCE: usize = 8;

static HAS_TWO_CORES: LazyLock<bool> =
    LazyLock::new(|| thread::available_parallelism().is_ok_and(|cores| cores.get() > 1));

/// What `work` makes of each item, in the items' order.
pub(crate) fn map<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync) -> Vec<R> {
    if items.len() < ITEMS_MIN || !*HAS_TWO_CORES {
        return items.iter().map(work).collect();
    }
    let next = AtomicUsize::new(0);
    let chunks: Vec<&[T]> = items.chunks(ITEMS_AT_ONCE).collect();
    let take = || {
        let mut done = Vec::new();
        loop {
            let place = next.fetch_add(1, Ordering::Relaxed);
            let Some(chunk) = chunks.get(place) else {
                return done;
            };
            let made: Vec<R> = chunk.iter().map(&work).collect();
            done.push((place, made));
        }
    };
    let mut done = thread::scope(|scope| {
        let beside = scope.spawn(take);
        let mut done = take();
        match beside.join() {
            Ok(others) => done.extend(others),
            Err(panic) => std::panic::resume_unwind(panic),
        }
        done
    });
    done.sort_unstable_by_key(|(place, _)| *place);
    done.into_iter().flat_map(|(_, made)| made).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_made_stands_in_the_order_of_the_items() {
        for count in [0, 1, ITEMS_MIN - 1, ITEMS_MIN, 1_003] {
            let items: Vec<usize> = (0..count).collect();
            let doubled: Vec<usize> = items.iter().map(|n| n * 2).collect();
            assert_eq!(map(&items, |n| n * 2), doubled);
        }
    }

    #[test]
    #[should_panic(expected = "item 999")]
    fn a_panic_is_the_callers() {
        let items: Vec<usize> = (0..1_003).collect();
        map(&items, |n| assert_ne!(*n, 999, "item 999"));
    }
}
