//! `mtls-gate serve`: a front end that behaves like Google's load balancer with frontend mTLS, down
//! to the closed connection. The core decides; this folder carries it out over rustls and hyper.
//!
//! ```text
//! listener (mod.rs) ─▶ TLS handshake (connection.rs) ─▶ request (request.rs) ─▶ upstream.rs
//!                          ▲ snapshot.rs: what the files say      └▶ CONNECT, upgrades: tunnel.rs
//! ```

mod connection;
mod destination;
mod headers;
mod idle;
mod log;
mod request;
mod snapshot;
mod tunnel;
mod upstream;

use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Semaphore, watch};

use crate::backend::BackendOptions;
use crate::resources::{ResourceError, ResourceFiles};
use destination::AllowedDestination;
use log::Log;
use snapshot::{Live, SnapshotError};

/// How long a full listen queue or a lack of file descriptors is waited out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How often it is told that connections cannot be accepted.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// How often the files are looked at.
const WATCH_EVERY: Duration = Duration::from_secs(1);
/// How often all is loaded anew without a change: connections to backends are then made anew too, and
/// with them the backends judged.
const RENEW_EVERY: Duration = Duration::from_secs(600);
/// Names that are resolved at a time; each holds a thread.
const LOOKUPS: usize = 64;
/// File descriptors beside those of connections.
const SPARE_DESCRIPTORS: u64 = 64;

/// Serve as Google's load balancer would: terminate mTLS, validate, set headers, forward
///
/// Takes Google's resources as they are. A changed file, or SIGHUP, loads them all anew; connections
/// stay, and each request is judged by the newest. If the new ones are broken the old ones stay.
/// SIGTERM and SIGINT end it when the requests under way are answered.
///
/// Requests are logged to standard output, everything else to standard error.
///
/// Exit status: 0 ended by a signal, 2 bad usage, unreadable input or no port.
#[derive(Args, Clone, Debug)]
pub struct ServeOptions {
    #[command(flatten)]
    resources: ResourceFiles,
    /// The server's certificate and its chain, as PEM
    #[arg(long, value_name = "FILE")]
    cert: PathBuf,
    /// The private key of --cert, as PEM
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Where to listen; port 0 takes a free one, which is told on standard error
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8443")]
    listen: SocketAddr,
    /// Where requests go, over HTTP/1.1; their Host stays
    #[arg(long, value_name = "URL", value_parser = upstream::parse_url)]
    #[arg(required_unless_present = "explicit_proxy")]
    upstream: Option<upstream::UpstreamUrl>,
    #[command(flatten)]
    backend: BackendOptions,
    /// Be an explicit proxy, as Secure Web Proxy: CONNECT only, to what AuthzPolicies allow
    #[arg(long, requires = "authz_policy")]
    #[arg(conflicts_with_all = ["upstream", "backend_trust_config"])]
    explicit_proxy: bool,
    /// A destination whose address may be loopback, link-local or this host's own; without a port,
    /// any port
    #[arg(long, value_name = "HOST[:PORT]", requires = "explicit_proxy")]
    allow_destination: Vec<AllowedDestination>,
    /// How requests are logged
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    log_format: LogFormat,
    #[command(flatten)]
    limits: Limits,
}

/// `--log-format`
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One line of text
    Text,
    /// One line of JSON in the shape of Google's load balancer logs
    Google,
}

/// Bounds on what one client can hold.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Limits")]
pub struct Limits {
    /// Connections at a time; others wait in the listen queue
    #[arg(long, value_name = "N", default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_connections: u32,
    /// Requests under way at a time, tunnels among them; others are answered 503
    #[arg(long, value_name = "N", default_value_t = 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    max_requests: u32,
    /// Bytes of a request's head
    #[arg(long, value_name = "BYTES", default_value_t = 64 * 1024)]
    #[arg(value_parser = clap::value_parser!(u32).range(8192..=1_048_576))]
    max_header_bytes: u32,
    /// Bytes of a request's body
    #[arg(long, value_name = "BYTES", default_value_t = 1 << 30)]
    max_body_bytes: u64,
    /// Seconds until the TLS handshake must be done
    #[arg(long, value_name = "SECONDS", default_value = "10", value_parser = parse_seconds)]
    handshake_timeout: Duration,
    /// Seconds until a request's head must be there, counted from the request before
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = parse_seconds)]
    header_timeout: Duration,
    /// Seconds that a connection or a tunnel may be silent in both directions
    #[arg(long, value_name = "SECONDS", default_value = "300", value_parser = parse_seconds)]
    idle_timeout: Duration,
    /// Seconds to connect to a backend or a destination
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = parse_seconds)]
    connect_timeout: Duration,
    /// Seconds until a backend's response must begin, counted from the last of the request
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    upstream_timeout: Duration,
    /// Seconds that requests under way get when the server ends
    #[arg(long, value_name = "SECONDS", default_value = "30", value_parser = parse_seconds)]
    shutdown_timeout: Duration,
}

/// Why the server does not run.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The files are broken.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// A resource cannot be read.
    #[error(transparent)]
    Resource(#[from] ResourceError),
    /// The address cannot be listened on.
    #[error("listening on {address}: {source}")]
    Listen {
        /// `--listen`
        address: SocketAddr,
        /// What happened.
        source: io::Error,
    },
    /// The runtime, a signal handler or the log could not be set up.
    #[error("setting up: {0}")]
    Setup(#[source] io::Error),
}

/// Runs until a signal ends it.
///
/// # Errors
/// It could not begin.
pub fn run(options: &ServeOptions) -> Result<bool, ServeError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(ServeError::Setup)?;
    let log = Arc::new(Log::to_standard(options.log_format).map_err(ServeError::Setup)?);
    let served = runtime.block_on(serve(options.clone(), Arc::clone(&log)));
    // A name that is still being resolved must not hold the process. What is cut off is logged.
    runtime.shutdown_timeout(Duration::from_millis(100));
    log.close();
    served.map(|()| true)
}

/// What every connection shares.
struct Server {
    options: ServeOptions,
    live: Live,
    log: Arc<Log>,
    /// Requests under way.
    requests: Arc<Semaphore>,
    /// Names being resolved.
    lookups: Arc<Semaphore>,
    /// Turns true when the server ends.
    ending: watch::Receiver<bool>,
}

async fn serve(options: ServeOptions, log: Arc<Log>) -> Result<(), ServeError> {
    let (live, warnings) = Live::load(&options)?;
    say_warnings(&log, &warnings);
    if let Some(warning) = descriptors_missing(&options.limits) {
        log.say(format_args!("warning: {warning}"));
    }
    let listener = TcpListener::bind(options.listen)
        .await
        .and_then(|listener| Ok((listener.local_addr()?, listener)))
        .map_err(|source| ServeError::Listen {
            address: options.listen,
            source,
        });
    let (address, listener) = listener?;
    let on = |kind| signal(kind).map_err(ServeError::Setup);
    let (mut terminate, mut interrupt) =
        (on(SignalKind::terminate())?, on(SignalKind::interrupt())?);
    let hangup = on(SignalKind::hangup())?;
    let (end, ending) = watch::channel(false);
    let server = Arc::new(Server {
        requests: semaphore(options.limits.max_requests),
        lookups: Arc::new(Semaphore::new(LOOKUPS)),
        options,
        live,
        log,
        ending,
    });
    server
        .log
        .say(format_args!("listening on https://{address}"));
    let mut watching = tokio::spawn(watch_files(Arc::clone(&server), hangup));
    let connections = Connections::new(server.options.limits.max_connections);
    tokio::select! {
        () = accept(&server, &listener, &connections) => {}
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
        // Never, unless it fails; files that nobody looks at are worse than no server.
        _ = &mut watching => server.log.say("the files are not watched any more"),
    }
    drop(listener);
    watching.abort();
    let _ = end.send(true);
    server.log.say("ending");
    let all = connections.all_ended();
    if tokio::time::timeout(server.options.limits.shutdown_timeout, all)
        .await
        .is_err()
    {
        server.log.say("not all connections ended in time");
    }
    Ok(())
}

fn semaphore(permits: u32) -> Arc<Semaphore> {
    let permits = usize::try_from(permits).unwrap_or(Semaphore::MAX_PERMITS);
    Arc::new(Semaphore::new(permits.min(Semaphore::MAX_PERMITS)))
}

/// Raises the limit on file descriptors as far as it goes, and says if it is too low all the same:
/// clients could then hold all of them.
fn descriptors_missing(limits: &Limits) -> Option<String> {
    let needed = u64::from(limits.max_connections)
        .saturating_add(u64::from(limits.max_requests))
        .saturating_add(SPARE_DESCRIPTORS);
    let limit = rlimit::increase_nofile_limit(needed).unwrap_or(0);
    (limit < needed).then(|| {
        format!(
            "at most {limit} open files, and --max-connections and --max-requests may need {needed}"
        )
    })
}

fn say_warnings(log: &Log, warnings: &[String]) {
    for warning in warnings {
        log.say(format_args!("warning: {warning}"));
    }
}

/// Connections open at a time, tunnels among them: each holds a permit to its end.
struct Connections {
    permits: Arc<Semaphore>,
    limit: u32,
}

impl Connections {
    fn new(limit: u32) -> Self {
        Self {
            permits: semaphore(limit),
            limit,
        }
    }

    async fn all_ended(&self) {
        let _ = self.permits.acquire_many(self.limit).await;
    }
}

async fn accept(server: &Arc<Server>, listener: &TcpListener, connections: &Connections) {
    let mut told: Option<Instant> = None;
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&connections.permits).acquire_owned().await else {
            return;
        };
        let (stream, peer): (TcpStream, SocketAddr) = match listener.accept().await {
            Ok(accepted) => accepted,
            // Of the one connection, or of all until others end; neither is a reason to stop.
            Err(error) => {
                if told.is_none_or(|told| told.elapsed() > TELL_EVERY) {
                    server
                        .log
                        .say(format_args!("accepting a connection: {error}"));
                    told = Some(Instant::now());
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        tokio::spawn(connection::serve(Arc::clone(server), stream, peer, permit));
    }
}

/// Loads the files anew when one has changed or a SIGHUP asks for it.
async fn watch_files(server: Arc<Server>, mut hangup: Signal) {
    let mut loaded = Instant::now();
    let mut said = String::new();
    loop {
        let asked = tokio::select! {
            _ = hangup.recv() => true,
            () = tokio::time::sleep(WATCH_EVERY) => false,
        };
        let due = loaded.elapsed() > RENEW_EVERY;
        // Reading blocks; connections go on meanwhile.
        let outcome =
            tokio::task::block_in_place(|| server.live.reload(&server.options, asked || due));
        if !matches!(outcome, Ok(None)) {
            loaded = Instant::now();
        }
        match outcome {
            Ok(None) => {}
            Ok(Some(_)) if due && !asked => {}
            Ok(Some(warnings)) => {
                say_warnings(&server.log, &warnings);
                server.log.say("configuration loaded anew");
                said.clear();
            }
            Err(error) => {
                let error = error.to_string();
                // Tried again every second, if it may pass.
                if asked || error != said {
                    server.log.say(format_args!(
                        "configuration refused, the old one stays: {error}"
                    ));
                }
                said = error;
            }
        }
    }
}

fn parse_seconds(text: &str) -> Result<Duration, String> {
    match text.parse::<u32>() {
        Ok(seconds) if seconds > 0 => Ok(Duration::from_secs(u64::from(seconds))),
        _ => Err("not a number of seconds, at least 1".to_owned()),
    }
}
