use std::collections::BTreeSet;
use std::fmt;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

/// Length, number, the number answered, kind: four little-endian words of 32 bits.
/// Source: <https://www.mongodb.com/docs/manual/reference/mongodb-wire-protocol/>.
const HEADER_BYTES: usize = 16;
const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Decides by a request's bytes whether its answer gets lost.
type Loses = Box<dyn FnMut(&[u8]) -> bool + Send>;

/// Stands between clients and a server of the MongoDB wire protocol, both on this machine.
///
/// It passes whole messages on. The answers it is told to lose it swallows, and closes the connection
/// instead; the requests it is told to hold back wait.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    inner: Arc<Inner>,
}

struct Inner {
    server: u16,
    loses: Mutex<Loses>,
    lost: AtomicU32,
    held_back: Mutex<HeldBack>,
    released: Condvar,
}

#[derive(Default)]
struct HeldBack {
    word: Option<&'static str>,
    waiting: u32,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inner")
            .field("server", &self.server)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl Proxy {
    /// Starts one before the server on that port. It lives as long as the process.
    ///
    /// # Panics
    /// There is no free port.
    #[must_use]
    pub fn start(server: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let port = listener.local_addr().expect("its number").port();
        let inner = Arc::new(Inner {
            server,
            loses: Mutex::new(Box::new(|_| false)),
            lost: AtomicU32::new(0),
            held_back: Mutex::default(),
            released: Condvar::new(),
        });
        let shared = Arc::clone(&inner);
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                // A server that is down refuses; dropping the client's connection says the same.
                if let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, shared.server)) {
                    connect(&shared, client, server);
                }
            }
        });
        Self { port, inner }
    }

    /// The port it listens on, at 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Loses, from now on, the answers of the requests that `loses` says yes to.
    pub fn lose(&self, loses: impl FnMut(&[u8]) -> bool + Send + 'static) {
        *self.inner.rule() = Box::new(loses);
    }

    /// Loses the answers of the first `count` requests from now on that hold a word.
    pub fn lose_first(&self, count: u32, word: &'static str) {
        let mut left = count;
        self.lose(move |request| {
            let hit = left > 0 && holds(request, word);
            left -= u32::from(hit);
            hit
        });
    }

    /// Holds requests back that hold a word, until they are released.
    pub fn hold_back(&self, word: &'static str) {
        self.inner.held_back().word = Some(word);
    }

    /// How many requests are waiting.
    #[must_use]
    pub fn waiting(&self) -> u32 {
        self.inner.held_back().waiting
    }

    /// Lets all requests pass.
    pub fn release(&self) {
        self.inner.held_back().word = None;
        self.inner.released.notify_all();
    }

    /// How many answers got lost so far.
    #[must_use]
    pub fn lost(&self) -> u32 {
        self.inner.lost.load(Ordering::Relaxed)
    }
}

/// Whether a request holds a word, such as the name of a command.
#[must_use]
pub fn holds(request: &[u8], word: &str) -> bool {
    request
        .windows(word.len())
        .any(|part| part == word.as_bytes())
}

impl Inner {
    fn rule(&self) -> MutexGuard<'_, Loses> {
        self.loses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn held_back(&self) -> MutexGuard<'_, HeldBack> {
        let held_back = self.held_back.lock();
        held_back.unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns when the request may go on.
    fn let_pass(&self, request: &[u8]) {
        let mut held_back = self.held_back();
        if !held_back.word.is_some_and(|word| holds(request, word)) {
            return;
        }
        held_back.waiting += 1;
        let waited = self
            .released
            .wait_while(held_back, |held_back| held_back.word.is_some());
        waited.unwrap_or_else(PoisonError::into_inner).waiting -= 1;
    }
}

/// Passes messages on in both directions, until one side ends or an answer is to be lost.
fn connect(inner: &Arc<Inner>, client: TcpStream, server: TcpStream) {
    let doomed: Arc<Mutex<BTreeSet<u32>>> = Arc::default();
    let answers = (
        server.try_clone().expect("a handle"),
        client.try_clone().expect("a handle"),
    );
    let (shared, marked) = (Arc::clone(inner), Arc::clone(&doomed));
    thread::spawn(move || {
        pass_on((client, server), |request| {
            shared.let_pass(request);
            if shared.rule()(request) {
                let number = word(request, 1).unwrap_or_default();
                marked.lock().expect("no panic").insert(number);
            }
            true
        });
    });
    let shared = Arc::clone(inner);
    thread::spawn(move || {
        pass_on(answers, |answer| {
            let number = word(answer, 2).unwrap_or_default();
            let lost = doomed.lock().expect("no panic").contains(&number);
            shared.lost.fetch_add(u32::from(lost), Ordering::Relaxed);
            !lost
        });
    });
}

/// Passes on what `passes`, and closes both connections at the first message that does not.
fn pass_on((mut from, mut to): (TcpStream, TcpStream), mut passes: impl FnMut(&[u8]) -> bool) {
    while let Ok(message) = message(&mut from) {
        if !passes(&message) || to.write_all(&message).is_err() {
            break;
        }
    }
    // One that is closed already is what was wanted.
    drop(from.shutdown(Shutdown::Both));
    drop(to.shutdown(Shutdown::Both));
}

fn message(from: &mut TcpStream) -> io::Result<Vec<u8>> {
    let mut message = vec![0; HEADER_BYTES];
    from.read_exact(&mut message)?;
    let length = word(&message, 0).and_then(|length| usize::try_from(length).ok());
    match length {
        Some(length @ HEADER_BYTES..=MESSAGE_BYTES_MAX) => {
            message.resize(length, 0);
            from.read_exact(&mut message[HEADER_BYTES..])?;
            Ok(message)
        }
        Some(_) | None => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// The header's word at that place.
fn word(message: &[u8], place: usize) -> Option<u32> {
    let bytes = message.get(4 * place..)?.first_chunk()?;
    Some(u32::from_le_bytes(*bytes))
}
