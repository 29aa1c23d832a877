//! Events whose amendments name another lead: whichever telling comes first, the lead that the last one
//! names has them.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use serde_json::Value;
use smol_str::SmolStr;

use super::findings::show;
use super::lives::{Course, config, moving_life, turns};
use super::naive;
use super::telling::{Told, settings, story};
use super::world::{Tables, World};

type Bodies = BTreeMap<(SmolStr, &'static str, SmolStr), (String, u64, Vec<Value>)>;

/// What of the tables does not tell in which group an event was taken in first.
fn bodies(tables: Tables) -> Bodies {
    let rows = tables.into_iter();
    rows.map(|(name, seen)| (name, (seen.body, seen.events, seen.history)))
        .collect()
}

/// Delivers what groups state to others, until nothing is.
fn settle(world: &mut World, backwards: bool) {
    while world
        .stated
        .as_ref()
        .is_some_and(|copies| !copies.is_empty())
    {
        world.deliver_stated(backwards);
    }
}

#[track_caller]
fn assert_right(world: &World) {
    assert_eq!(
        bodies(world.tables()),
        bodies(naive::tables(&world.journaled()))
    );
    world.assert_days();
    assert_eq!(show(&world.compare(&[], &[])), "");
    world.assert_owes_nothing();
}

/// Tells a story in every order of its steps.
fn check(text: &str) {
    let steps = story(text);
    for rotation in 0..steps.len() {
        for backwards in [false, true] {
            let mut world = World::new(settings(1, &[]));
            world.stated = Some(Vec::new());
            let mut steps = steps.clone();
            steps.rotate_left(rotation);
            if backwards {
                steps.reverse();
            }
            for step in steps {
                world.run(&[step]);
                settle(&mut world, backwards);
            }
            assert_right(&world);
        }
    }
}

#[test]
fn an_event_goes_over_to_the_lead_that_it_is_amended_to_name() {
    check("converted 9:00 id=c amount=5; converted 9:00 id=c rev=1 amount=7 lead=l2; created 8:00");
    check("completed 9:00 a1 id=c; completed 9:10 a1 id=c rev=1 lead=l2; started 8:00 a1 lead=l2");
}

#[test]
fn it_comes_back_or_goes_on() {
    check("converted 9:00 id=c; converted 9:00 id=c rev=1 lead=l2; converted 9:00 id=c rev=2");
    check(
        "converted 9:00 id=c; converted 9:00 id=c rev=1 lead=l2; converted 9:00 id=c rev=2 lead=l3;
         updated 7:00 lead=l2; updated 7:00",
    );
}

#[test]
fn a_withdrawal_takes_it_away_whatever_lead_it_names() {
    check("converted 9:00 id=c; converted 9:00 id=c rev=1 lead=l2 withdrawn");
    check(
        "converted 9:00 id=c; updated 9:00 id=c rev=1 lead=l2; updated 9:00 id=c rev=2 withdrawn",
    );
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn whatever_lead_amendments_name_the_last_one_has_the_event(
        life in moving_life(),
        turns in turns(),
        rest in 1_usize..8,
        backwards in any::<bool>(),
    ) {
        let mut course = Course::new(&life, &[]);
        course.world.stated = Some(Vec::new());
        course.run(&turns, rest);
        settle(&mut course.world, backwards);
        assert_right(&course.world);
        course.assert_contiguous();
        course.assert_remembered();
    }

    #[test]
    fn what_was_never_stated_is_owed(life in moving_life(), rest in 1_usize..8) {
        let mut course = Course::new(&life, &[]);
        course.run(&[], rest);
        course.world.state_what_is_owed();
        assert_right(&course.world);
        let told: BTreeSet<u32> = life.iter().map(|one: &Told| one.revision).collect();
        prop_assert!(!told.is_empty());
    }
}
