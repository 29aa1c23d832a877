//! `foldback serve`: ingest, workers, schedules, console and query API in one process.
//!
//! One thread [writes](writer), because a data directory has one writer; requests and schedules read over
//! connections of their own and ask it for what changes something.

mod access;
mod deeds;
mod mend;
mod meter;
mod recent;
mod schedule;
mod spans;
mod web;
mod world;
mod writer;

use std::net::{SocketAddr, TcpListener};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

use clap::Args;
use shared::adapters::SystemClock;
use shared::ports::Clock;
use tokio::runtime::Builder;
use tokio::sync::watch;

use crate::cli::Data;
use crate::error::{Failure, Status};
use crate::settings::{self, InForce, Source};
use crate::stores::Stores;
use meter::Meter;
use recent::Recent;
use schedule::Schedule;
use world::{Local, Readers};
use writer::{Seen, Writer};

/// Take events in over HTTP, process them, and show how things stand.
///
/// POST /events/{tenant} takes webhooks as the function `ingest` does; / is the console, /api/v1 the query
/// API (/api/openapi.json says what it has), /metrics is for Prometheus, /healthz says whether it works. On
/// SIGTERM or SIGINT it takes nothing more, finishes what it has begun, and ends.
#[derive(Debug, Args)]
#[command(after_help = "\
Examples:
  foldback serve --settings settings.toml
  foldback serve --listen 127.0.0.1:9000 --data mine --read-only
  FOLDBACK_CONSOLE_TOKEN=$(openssl rand -hex 24) foldback serve --listen 0.0.0.0:8080")]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    data: Data,
    /// What the events mean: TOML, or JSON if so named. Without it, what the data directory was last run
    /// with.
    #[arg(long, value_name = "FILE")]
    settings: Option<PathBuf>,
    /// Where to listen. Without a token, only on this machine's own (loopback) addresses.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    listen: SocketAddr,
    #[command(flatten)]
    access: access::AccessArgs,
    /// How often the tables are compared with the fold of the journal; 0 is never.
    #[arg(long, value_name = "SECONDS", default_value_t = 900)]
    replay_every: u32,
    /// How often a report is made and kept; 0 is never.
    #[arg(long, value_name = "SECONDS", default_value_t = 3_600)]
    report_every: u32,
}

/// Enough that a reader of a large page does not keep others waiting.
const WORKERS_MIN: usize = 4;

/// What the console cannot tell who asked, it logs.
fn log_to_stderr() {
    let log = tracing_subscriber::fmt()
        .with_max_level(tracing_subscriber::filter::LevelFilter::WARN)
        .with_ansi(false)
        .with_writer(std::io::stderr);
    // A second one in this process would say the same.
    drop(log.try_init());
}

pub(crate) fn run(args: &ServeArgs) -> Result<Status, Failure> {
    let instead = "there the functions do, and the stack's outputs say at which addresses";
    args.data.must_be_local("serve", instead)?;
    log_to_stderr();
    let access = Arc::new(args.access.rules(args.listen)?);
    let read = settings::read(
        args.settings
            .as_deref()
            .map_or(Source::Stored, Source::File),
    )?;
    let stores = Stores::open(&args.data)?;
    let settings = settings::put_in_force(stores.events(), read.as_ref(), SystemClock.now())?;
    let in_force = Arc::new(InForce::new(settings));
    let listener = listen(args.listen)?;
    let (stop, stopping) = watch::channel(false);
    let (changes, changed) = watch::channel(0);
    let seen = Seen {
        meter: Arc::new(Meter::new()?),
        recent: Arc::new(Recent::default()),
        changes,
    };
    let (meter, recent) = (Arc::clone(&seen.meter), Arc::clone(&seen.recent));
    let (writer, desk) = Writer::new(&stores, Arc::clone(&in_force), seen)?;
    let world = Local {
        readers: Arc::new(Readers::new(&stores)?),
        desk: desk.clone(),
        in_force: Arc::clone(&in_force),
        recent,
        changes: changed,
        stopping: stopping.clone(),
    };
    let schedule = Schedule {
        stores: stores.again()?,
        desk: desk.clone(),
        in_force,
        meter: Arc::clone(&meter),
        replay_every: args.replay_every,
        report_every: args.report_every,
    };
    let telling = Arc::clone(&meter);
    let served = web::Served {
        desk,
        meter,
        access,
        world,
    };
    thread::scope(|scope| {
        let writing = scope.spawn({
            let stop = stop.clone();
            move || {
                let done = writer.run();
                // Without it nothing can be taken in: the process ends too.
                stop.send_replace(true);
                done
            }
        });
        let scheduled = scope.spawn({
            let stopping = stopping.clone();
            move || schedule.run(stopping)
        });
        let web = web(listener, served, &stop);
        let scheduled = scheduled.join().map_err(|_panic| died("scheduling"))?;
        let written = writing.join().map_err(|_panic| died("writing"))?;
        web.and(scheduled).and(written)
    })?;
    telling.close();
    anstream::eprintln!("stopped; what was taken in is kept");
    Ok(Status::Clean)
}

fn died(which: &str) -> Failure {
    Failure::Input(format!("the {which} thread died: a fault of foldback"))
}

fn listen(at: SocketAddr) -> Result<TcpListener, Failure> {
    let bound = TcpListener::bind(at).and_then(|listener| {
        listener.set_nonblocking(true)?;
        Ok(listener)
    });
    bound.map_err(|source| Failure::File {
        what: format!("listen at {at}"),
        source,
    })
}

/// Serves until a signal, or the end of the writing thread, says to stop; then lets go of the desk, which
/// ends that thread.
fn web(
    listener: TcpListener,
    served: web::Served,
    stop: &watch::Sender<bool>,
) -> Result<(), Failure> {
    let failed = |source| Failure::File {
        what: "serve".to_owned(),
        source,
    };
    let threads = thread::available_parallelism().map_or(WORKERS_MIN, usize::from);
    let runtime = Builder::new_multi_thread()
        .worker_threads(threads.max(WORKERS_MIN))
        .enable_all()
        .build()
        .map_err(failed)?;
    let done = runtime.block_on(web::serve(listener, served, stop));
    // However it ended, the others are to end too.
    stop.send_replace(true);
    done.map_err(failed)
}
