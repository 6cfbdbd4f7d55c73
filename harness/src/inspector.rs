//! `mtls-gate inspector`: the inspector's page over HTTP, from a fixed list of files. Nothing that is
//! judged comes here.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use clap::Args;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::{
    ALLOW, CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue,
    InvalidHeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// What the page is made of, and each file's media type.
const FILES: [(&str, &str); 12] = [
    (INDEX, "text/html; charset=utf-8"),
    ("style.css", "text/css; charset=utf-8"),
    ("main.js", SCRIPT),
    ("core.js", SCRIPT),
    ("dom.js", SCRIPT),
    ("graph.js", SCRIPT),
    ("report.js", SCRIPT),
    ("worker.js", SCRIPT),
    ("inspector.js", SCRIPT),
    // Unpacked by the page, so that every server hands it over as it is.
    ("inspector_bg.wasm.gz", "application/octet-stream"),
    ("examples.json", "application/json"),
    ("icon.svg", "image/svg+xml"),
];
const INDEX: &str = "index.html";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// In front of the page's own policy in its head.
const POLICY_BEGINS: &str = "http-equiv=\"Content-Security-Policy\" content=\"";

const CONNECTIONS: usize = 64;
const HEAD_WITHIN: Duration = Duration::from_secs(10);
const CONNECTION_WITHIN: Duration = Duration::from_secs(60);
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serve the inspector: a page that shows why a chain is accepted or refused
///
/// `make inspector` builds the page. Everything is judged in the browser; nothing comes back here.
/// Any other web server serves the same files as well. Ends with SIGTERM or SIGINT.
///
/// Exit status: 0 ended by a signal, 2 bad usage, missing files or no port.
#[derive(Args, Clone, Debug)]
pub struct InspectorOptions {
    /// Where to listen; port 0 takes a free one, which is told on standard error
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:8010")]
    listen: SocketAddr,
    /// The directory that `make inspector` writes
    #[arg(long, value_name = "DIR", default_value = "target/inspector")]
    files: PathBuf,
}

/// Why the page is not served.
#[derive(Debug, Error)]
pub enum InspectorError {
    /// A file of the page cannot be read.
    #[error("{}: {source} (`make inspector` builds the page)", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The page does not say what it may load.
    #[error("{}: no Content-Security-Policy in it", path.display())]
    NoPolicy {
        /// The page.
        path: PathBuf,
    },
    /// The address cannot be listened on.
    #[error("listening on {address}: {source}")]
    Listen {
        /// `--listen`
        address: SocketAddr,
        /// What happened.
        source: io::Error,
    },
    /// The runtime could not be set up.
    #[error("setting up: {0}")]
    Setup(#[source] io::Error),
}

/// Serves until a signal ends it.
///
/// # Errors
/// It could not begin.
pub fn run(options: &InspectorOptions) -> Result<bool, InspectorError> {
    let site = Arc::new(Site::read(&options.files)?);
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(InspectorError::Setup)?
        .block_on(serve(options.listen, site))
        .map(|()| true)
}

struct Site {
    files: Vec<(&'static str, &'static str, Bytes)>,
    policy: HeaderValue,
}

impl Site {
    fn read(folder: &Path) -> Result<Self, InspectorError> {
        let read = |(name, kind): (&'static str, &'static str)| {
            let path = folder.join(name);
            match std::fs::read(&path) {
                Ok(content) => Ok((name, kind, Bytes::from(content))),
                Err(source) => Err(InspectorError::File { path, source }),
            }
        };
        let files: Vec<_> = FILES.into_iter().map(read).collect::<Result<_, _>>()?;
        let page = files.iter().find(|(name, ..)| *name == INDEX);
        let policy = page
            .and_then(|(.., content)| policy(content).ok())
            .ok_or_else(|| InspectorError::NoPolicy {
                path: folder.join(INDEX),
            })?;
        Ok(Self { files, policy })
    }

    fn answer(&self, method: &Method, path: &str) -> Response<Full<Bytes>> {
        let name = match path.strip_prefix('/') {
            Some("") => INDEX,
            Some(name) => name,
            None => path,
        };
        let found = self.files.iter().find(|(known, ..)| *known == name);
        let is_read = matches!(*method, Method::GET | Method::HEAD);
        let (status, kind, content) = match found {
            _ if !is_read => (StatusCode::METHOD_NOT_ALLOWED, "text/plain", Bytes::new()),
            Some((_, kind, content)) => (StatusCode::OK, *kind, content.clone()),
            None => (
                StatusCode::NOT_FOUND,
                "text/plain",
                Bytes::from("not found\n"),
            ),
        };
        let mut response = Response::new(Full::new(content));
        *response.status_mut() = status;
        let headers = response.headers_mut();
        headers.insert(CONTENT_SECURITY_POLICY, self.policy.clone());
        for (name, value) in [
            (CONTENT_TYPE, kind),
            (CACHE_CONTROL, "no-cache"),
            (X_CONTENT_TYPE_OPTIONS, "nosniff"),
            (REFERRER_POLICY, "no-referrer"),
            (
                HeaderName::from_static("cross-origin-opener-policy"),
                "same-origin",
            ),
            (
                HeaderName::from_static("cross-origin-resource-policy"),
                "same-origin",
            ),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        if !is_read {
            headers.insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        }
        response
    }
}

/// The page's own policy, and what only a header can say: nobody puts the page into a frame.
fn policy(page: &[u8]) -> Result<HeaderValue, InvalidHeaderValue> {
    let page = String::from_utf8_lossy(page);
    let behind = page.split_once(POLICY_BEGINS).map(|(_, behind)| behind);
    let policy = behind.and_then(|behind| behind.split_once('"'));
    let policy = policy.map(|(policy, _)| format!("{policy}; frame-ancestors 'none'"));
    // A line break is in no header: without a policy there is none.
    HeaderValue::from_str(policy.as_deref().unwrap_or("\n"))
}

async fn serve(listen: SocketAddr, site: Arc<Site>) -> Result<(), InspectorError> {
    let failed = |source| InspectorError::Listen {
        address: listen,
        source,
    };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let mut terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
        .map_err(InspectorError::Setup)?;
    eprintln!("listening on http://{address}");
    tokio::select! {
        () = accept(&listener, &site) => {}
        _ = tokio::signal::ctrl_c() => {}
        _ = terminate.recv() => {}
    }
    Ok(())
}

async fn accept(listener: &TcpListener, site: &Arc<Site>) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&connections).acquire_owned().await else {
            return;
        };
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let site = Arc::clone(site);
        tokio::spawn(async move {
            // What is wrong with a connection is its client's business.
            let _ = tokio::time::timeout(CONNECTION_WITHIN, connection(stream, site)).await;
            drop(permit);
        });
    }
}

async fn connection(stream: TcpStream, site: Arc<Site>) -> Result<(), hyper::Error> {
    let answer = service_fn(move |request: Request<Incoming>| {
        let response = site.answer(request.method(), request.uri().path());
        async move { Ok::<_, Infallible>(response) }
    });
    http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WITHIN)
        .serve_connection(TokioIo::new(stream), answer)
        .await
}
