//! Images of what rows were: whatever happens on the way, they change what a late event costs and nothing
//! else.

use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::subsequence;
use proptest::test_runner::TestCaseError;

use super::findings::{mend, show};
use super::lives::{Course, amended_life, config, in_order, life, turns};
use super::telling::{Told, settings};
use super::world::World;
use crate::flow::{Gone, Image, Imaging, KeptImage, RowImage, Was, thin, thins_since};
use crate::handlers::Table;
use crate::model::{Group, Held, Order, Timestamp};

/// So fine that even a short life has images, and merges them.
pub(super) fn imaging() -> impl Strategy<Value = Imaging> {
    (1_u64..5, 1_u64..5, 1_u64..4).prop_map(|(long_from, least, thin_every)| Imaging {
        long_from,
        least,
        thin_every,
    })
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn images_change_no_row_whatever_happens(
        life in life(),
        turns in turns(),
        rest in 1_usize..8,
        imaging in imaging(),
    ) {
        let mut course = Course::new(&life, &[]);
        course.world.imaging = imaging;
        course.run(&turns, rest);
        course.world.assert_right();
        prop_assert_eq!(show(&course.world.compare(&[], &[])), "");
        course.assert_contiguous();
        course.assert_remembered();
        let life = in_order(&life);
        let mut ordered = Course::new(&life, &[]);
        ordered.run(&[], 1);
        prop_assert_eq!(course.held(), ordered.held());
    }

    #[test]
    fn from_images_or_from_the_whole_journal_is_the_same(
        life in life(),
        detect in detect(),
        sizes in vec(1_usize..4, 1..24),
        again in any::<u32>(),
        imaging in imaging(),
    ) {
        same(life, &detect, &sizes, again, imaging)?;
    }

    #[test]
    fn from_images_or_from_the_whole_journal_is_the_same_of_amended_events(
        life in amended_life(),
        detect in detect(),
        sizes in vec(1_usize..4, 1..24),
        again in any::<u32>(),
        imaging in imaging(),
    ) {
        same(life, &detect, &sizes, again, imaging)?;
    }

    /// Whatever is under `detect`, rows under `correct` are right, and those that differ say why.
    #[test]
    fn images_change_no_row_beside_those_that_take_events_as_they_come(
        life in life(),
        detect in detect(),
        turns in turns(),
        rest in 1_usize..8,
        imaging in imaging(),
    ) {
        let mut course = Course::new(&life, &detect);
        course.world.imaging = imaging;
        course.run(&turns, rest);
        course.assert_contiguous();
        let comparison = course.world.compare(&[], &[]);
        for finding in &comparison.findings {
            prop_assert!(detect.contains(&finding.table), "{}", show(&comparison));
        }
        mend(&mut course.world, &comparison);
        // From here on images of before are of rows that are not any more.
        course.world.deliver(&life);
        let comparison = course.world.compare(&[], &[]);
        mend(&mut course.world, &comparison);
        course.world.assert_right();
    }

    /// Rows that something else writes, and that leave no image of that.
    #[test]
    fn images_that_are_out_of_date_are_not_used(
        life in life(),
        turns in turns(),
        imaging in imaging(),
        cut in 1_usize..24,
        rest in 1_usize..8,
    ) {
        let (first, _) = life.split_at(cut.min(life.len()));
        let mut course = Course::new(first, &[]);
        course.world.imaging = imaging;
        course.run(&[], rest);
        let kept = course.world.images.clone();
        for turn in &turns {
            course.turn(turn);
        }
        // As a store that is put back, or an older version that keeps none: rows go on, images stay.
        course.world.images = kept;
        course.world.deliver(&life);
        course.world.assert_right();
        prop_assert_eq!(show(&course.world.compare(&[], &[])), "");
        course.assert_contiguous();
    }

    #[test]
    fn merged_images_say_the_same_and_are_few(
        sizes in vec((1_u64..6, 0_usize..5, any::<bool>()), 1..300),
        least in 1_u64..20,
    ) {
        let kept = images(&sizes);
        let imaging = Imaging { least, ..Imaging::LIVE };
        let group = group();
        let change = thin(&group, &kept, imaging);
        let images = kept.iter().filter_map(|one| one.image.as_ref());
        let since = thins_since(images.map(Image::head).collect(), imaging);
        let mut late = kept.clone();
        late.retain(|one| one.image.as_ref().map(|image| image.until.time) >= since);
        let of_late = since.and_then(|_| thin(&group, &late, imaging));
        prop_assert_eq!(&of_late, &change, "the later ones are enough");
        let left = merged(&kept, &change);
        for image in &left {
            prop_assert_eq!(rows_at(&left, &image.from), rows_at(&kept, &image.from));
        }
        let events: u64 = kept.iter().map(|one| one.events()).sum();
        prop_assert_eq!(left.iter().map(|one| one.events).sum::<u64>(), events);
        let bound = 2 * (events.ilog2() as usize + 2);
        prop_assert!(left.len() <= bound, "{} images of {events} events", left.len());
        let mut after = 0;
        for image in left.iter().rev() {
            prop_assert!(image.events <= after.max(least).max(5), "{} after {after}", image.events);
            after += image.events;
        }
    }
}

/// A lead's events told one by one, and one that is late by a few of them.
#[test]
fn a_late_event_folds_no_more_than_it_is_late() {
    let told = |n: i64| Told {
        id: format!("e{n}"),
        kind: "lead.updated".into(),
        lead: "l1".into(),
        source: "//crm".into(),
        ms: n * 1_000,
        ..Told::default()
    };
    let mut world = World::new(settings(1, &[]));
    world.imaging = Imaging {
        long_from: 8,
        least: 4,
        thin_every: 8,
    };
    for n in 0..600 {
        world.deliver(&[told(2 * n)]);
    }
    for (late, most) in [(1, 6), (10, 24), (100, 220), (500, 601)] {
        let batch = [told(1_199 - 2 * late)];
        let accepted = world.accept(&batch);
        let (group, entries) = accepted.into_iter().next().expect("a group");
        let decision = world.decide(&group, &entries, false);
        assert!(decision.from_images, "late by {late}");
        let folded = decision.outcome.folded;
        assert!(folded <= most, "late by {late}: {folded} folded");
        assert!(world.commit_outcome(&group, &decision.outcome));
    }
    assert!(world.images.values().map(Vec::len).sum::<usize>() < 40);
    world.assert_right();
}

/// The first late event finds no images from before; it leaves some for the next one.
#[test]
fn a_fold_of_the_whole_journal_leaves_images_behind() {
    let told = |n: i64| Told {
        id: format!("e{n}"),
        kind: "lead.updated".into(),
        lead: "l1".into(),
        source: "//crm".into(),
        ms: n * 1_000,
        ..Told::default()
    };
    let mut world = World::new(settings(1, &[]));
    for n in 0..300 {
        world.deliver(&[told(2 * n)]);
    }
    world.imaging = Imaging {
        long_from: 8,
        ..Imaging::LIVE
    };
    world.deliver(&[told(589)]);
    world.deliver(&[told(585)]);
    let log: Vec<&str> = world.log.lines().skip(300).collect();
    assert!(log[0].contains("correct: e589"), "{log:?}");
    assert!(log[1].contains("correct from images: e585"), "{log:?}");
    world.assert_right();
}

/// Events are taken in that need no more than the rows, and late ones that need no more than images, though an
/// event of long ago was amended.
#[test]
fn an_amendment_of_long_ago_costs_nothing() {
    let mut world = World::new(settings(1, &[]));
    world.imaging = Imaging {
        long_from: 8,
        least: 4,
        thin_every: 8,
    };
    let told = |n: i64| Told {
        id: format!("e{n}"),
        kind: "lead.updated".into(),
        lead: "l1".into(),
        source: "//crm".into(),
        ms: n * 1_000,
        ..Told::default()
    };
    for n in 0..300 {
        world.deliver(&[told(2 * n)]);
    }
    // One that is told anew, one that is withdrawn, and one whose first telling is yet to come.
    let anew = |n: i64, withdrawn| Told {
        revision: 1,
        withdrawn,
        ..told(n)
    };
    world.deliver(&[anew(20, false), anew(400, true), anew(401, false)]);
    let folded = |world: &mut World, told: Told| {
        let accepted = world.accept(&[told]);
        let (group, entries) = accepted.into_iter().next().expect("a group");
        let decision = world.decide(&group, &entries, false);
        assert!(world.commit_outcome(&group, &decision.outcome));
        decision.outcome.folded
    };
    for n in 300..600 {
        assert_eq!(folded(&mut world, told(2 * n)), 0, "in order");
    }
    for (late, most) in [(1, 6), (10, 24), (100, 220)] {
        let folded = folded(&mut world, told(1_199 - 2 * late));
        assert!(
            0 < folded && folded <= most,
            "late by {late}: {folded} folded"
        );
    }
    // What may be one of those, or come before them, is for the whole journal to decide.
    assert!(folded(&mut world, told(399)) > 600);
    assert!(
        folded(
            &mut world,
            Told {
                ms: 2_000_000,
                ..told(401)
            }
        ) > 600
    );
    assert_eq!(
        folded(&mut world, told(2_001)),
        0,
        "nothing is open any more"
    );
    world.assert_right();
}

/// Some of the tables of leads.
fn detect() -> impl Strategy<Value = Vec<Table>> {
    let tables = [
        Table::RSLead,
        Table::RSAppointment,
        Table::RSAppointmentChanges,
        Table::RSLeadGlobalConversions,
    ];
    subsequence(tables.to_vec(), 0..3)
}

/// Two worlds take the same turns; one of them keeps images. Nothing waits in the queue while others are handled,
/// so both know the same. A row that observers feed and that was adopted too is left out: only from images can
/// it be told whether it holds its baseline.
fn same(
    mut life: Vec<Told>,
    detect: &[Table],
    sizes: &[usize],
    again: u32,
    imaging: Imaging,
) -> Result<(), TestCaseError> {
    life.retain(|told| told.adopts(Table::RSLeadGlobalConversions).is_none());
    let is_amended = life.iter().any(|told| told.revision > 0);
    let mut plain = World::new(settings(1, detect));
    let mut imaged = World::new(settings(1, detect));
    imaged.imaging = imaging;
    let mut rest = life.as_slice();
    let mut sizes = sizes.iter().cycle();
    while !rest.is_empty() {
        let size = sizes.next().map_or(1, |size| *size).min(rest.len());
        let (batch, later) = rest.split_at(size);
        let mut batch = batch.to_vec();
        // Some come once more, with the next ones.
        let before = life.len() - rest.len();
        if before > 0 && again >> (before % 32) & 1 == 1 {
            batch.push(life[before - 1].clone());
        }
        rest = later;
        plain.deliver(&batch);
        imaged.deliver(&batch);
        prop_assert_eq!(imaged.tables(), plain.tables());
        // Of amended events a row learns more where the whole journal is read: it may be written once more, and
        // which tellings it knows that others took the place of can be told of more rows.
        if !is_amended {
            let log = |world: &World| world.log.replace(" from images", "");
            prop_assert_eq!(log(&imaged), log(&plain));
            prop_assert_eq!(&imaged.rows, &plain.rows);
            prop_assert_eq!(&imaged.histories, &plain.histories);
        }
    }
    Ok(())
}

fn group() -> Group {
    Group {
        tenant: "acme".into(),
        key: "l1".into(),
    }
}

fn order(n: u64) -> Order {
    Order {
        time: Timestamp::from_ms(i64::try_from(n).expect("small")),
        below_ms: 0,
        sequence: None,
        source: "//crm".into(),
        id: n.to_string().into(),
    }
}

/// Images of so many events each, of an appointment of that number and, maybe, the lead.
fn images(sizes: &[(u64, usize, bool)]) -> Vec<KeptImage> {
    let mut versions: BTreeMap<(Table, String), u64> = BTreeMap::new();
    let mut place = 0;
    let mut kept = Vec::new();
    for (events, appointment, lead) in sizes {
        let mut rows = vec![(Table::RSAppointment, format!("a{appointment}"))];
        rows.extend(lead.then(|| (Table::RSLead, "l1".to_owned())));
        let rows = rows.into_iter().map(|(table, id)| {
            let version = versions.entry((table, id.clone())).or_insert(0);
            let replaced = *version;
            *version += 1;
            let was = (replaced > 0).then(|| Was {
                body: format!("{} {id} as of {replaced}", table.name()),
                held: Held::default(),
            });
            let image = RowImage {
                was,
                handler: 1,
                replaced,
                version: *version,
            };
            ((table, id.into()), image)
        });
        let image = Image {
            rows: rows.collect(),
            from: order(place),
            until: order(place + events - 1),
            events: *events,
            recorded: Timestamp::from_ms(0),
            settings: 1,
        };
        place += events;
        kept.push(KeptImage {
            handle: kept.len().to_string().into(),
            image: Some(image),
        });
    }
    kept
}

impl KeptImage {
    fn events(&self) -> u64 {
        self.image.as_ref().map_or(0, |image| image.events)
    }
}

/// What is left of images, in order.
fn merged(kept: &[KeptImage], change: &Option<crate::flow::ImagesWrite>) -> Vec<Image> {
    let (gone, add) = match change {
        Some(change) => match &change.gone {
            Gone::These(handles) => (handles.as_slice(), change.add.as_slice()),
            Gone::All => panic!("it names what goes"),
        },
        None => (&[][..], &[][..]),
    };
    let stay = kept.iter().filter(|one| !gone.contains(&one.handle));
    let mut left: Vec<Image> = stay.filter_map(|one| one.image.clone()).collect();
    left.extend(add.iter().cloned());
    left.sort_by(|a, b| a.from.cmp(&b.from));
    left
}

/// Every row that images from a place on tell of, as it was there, and the version that it has now.
fn rows_at(
    images: &[impl HasImage],
    from: &Order,
) -> BTreeMap<(Table, String), (Option<Was>, u64)> {
    let later = images
        .iter()
        .filter_map(HasImage::image)
        .filter(|image| image.from >= *from);
    let all = later.cloned().reduce(Image::merge).expect("some");
    let row = |((table, id), row): ((Table, smol_str::SmolStr), RowImage)| {
        ((table, id.to_string()), (row.was, row.version))
    };
    all.rows.into_iter().map(row).collect()
}

trait HasImage {
    fn image(&self) -> Option<&Image>;
}

impl HasImage for Image {
    fn image(&self) -> Option<&Image> {
        Some(self)
    }
}

impl HasImage for KeptImage {
    fn image(&self) -> Option<&Image> {
        self.image.as_ref()
    }
}
