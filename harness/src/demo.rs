//! The demo: real certificates, a real Envoy, real requests, and what came of them.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use comfy_table::{ColumnConstraint, ContentArrangement, Table, Width, presets};
use serde::Serialize;
use serde_json::{Value, json};
use tempfile::TempDir;
use thiserror::Error;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;

use crate::testbed::curl::{Curl, CurlError, EMPTY_REPLY, HTTP2_STREAM, HttpVersion};
use crate::testbed::echo::{Echo, EchoError, EchoReply};
use crate::testbed::envoy::{
    Chain, Envoy, EnvoyConfig, EnvoyError, FilterDocument, Listener, REQUEST_ID, ServerCertificate,
    WasmFilter, bootstrap,
};
use crate::testbed::mint::{CLIENT_NAME, Client, MintError, Pki};

const LISTENER: &str = "gate";
const ALLOW_HOST: &str = "allow.test";
const REJECT_HOST: &str = "reject.test";
const ALLOW_MODE: &str = "ALLOW_INVALID_OR_MISSING_CLIENT_CERT";
const REJECT_MODE: &str = "REJECT_INVALID";
/// Bound on each request; a hanging gate must not hang the demo.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(5);
const LOG_TIMEOUT: Duration = Duration::from_secs(3);
/// Every emitted header begins so.
const HEADER_PREFIX: &str = "x-client-cert-";
const SPOOF: &str = "spoof";
const NOT_PROVIDED: &str = "client_cert_not_provided";
/// Without a terminal there is no width to follow.
const PLAIN_WIDTH: u16 = 120;
/// Narrower tables are harder to read than broken lines.
const NARROWEST: u16 = 80;

/// The variables and the headers they are sent in, as in Google's documentation.
const HEADERS: [&str; 14] = [
    "X-Client-Cert-Present:{client_cert_present}",
    "X-Client-Cert-Chain-Verified:{client_cert_chain_verified}",
    "X-Client-Cert-Error:{client_cert_error}",
    "X-Client-Cert-Hash:{client_cert_sha256_fingerprint}",
    "X-Client-Cert-Serial-Number:{client_cert_serial_number}",
    "X-Client-Cert-SPIFFE:{client_cert_spiffe_id}",
    "X-Client-Cert-URI-SANs:{client_cert_uri_sans}",
    "X-Client-Cert-DNSName-SANs:{client_cert_dnsname_sans}",
    "X-Client-Cert-Valid-Not-Before:{client_cert_valid_not_before}",
    "X-Client-Cert-Valid-Not-After:{client_cert_valid_not_after}",
    "X-Client-Cert-Issuer-Dn:{client_cert_issuer_dn}",
    "X-Client-Cert-Subject-Dn:{client_cert_subject_dn}",
    "X-Client-Cert-Leaf:{client_cert_leaf}",
    "X-Client-Cert-Chain:{client_cert_chain}",
];

/// What the demo works with.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// The Envoy binary.
    pub envoy: PathBuf,
    /// The filter.
    pub wasm: PathBuf,
    /// Print JSON instead of a table.
    pub json: bool,
}

/// Why the demo could not be played to its end.
#[derive(Debug, Error)]
pub enum DemoError {
    /// No Envoy.
    #[error("there is no Envoy at {}: run `make tools`", path.display())]
    NoEnvoy {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// No filter.
    #[error("there is no filter at {}: run `make wasm`", path.display())]
    NoFilter {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The temporary directory could not be made or written.
    #[error("the demo's temporary directory: {0}")]
    Directory(#[source] io::Error),
    /// Certificates could not be made.
    #[error("making certificates: {0}")]
    Mint(#[from] MintError),
    /// The backend did not start.
    #[error(transparent)]
    Echo(#[from] EchoError),
    /// Envoy did not start or failed.
    #[error(transparent)]
    Envoy(#[from] EnvoyError),
    /// curl could not be run.
    #[error(transparent)]
    Curl(#[from] CurlError),
    /// Printing failed.
    #[error("printing: {0}")]
    Print(#[source] io::Error),
    /// The result could not be written as JSON.
    #[error("writing JSON: {0}")]
    Json(#[from] serde_json::Error),
    /// The user pressed Ctrl-C.
    #[error("interrupted; everything started has been stopped")]
    Interrupted,
}

/// Plays the demo, prints it, and tells whether all went as expected.
///
/// # Errors
/// When it cannot be played; a surprising answer is no error but `false`.
pub fn run(options: DemoOptions) -> Result<bool, DemoError> {
    if !options.envoy.is_file() {
        return Err(DemoError::NoEnvoy {
            path: options.envoy,
        });
    }
    if !options.wasm.is_file() {
        return Err(DemoError::NoFilter { path: options.wasm });
    }
    let interrupt = Interrupt::watch();
    let played = play(&options.envoy, Some(&options.wasm), &interrupt);
    // Children in the same process group are interrupted too, so their failures
    // are only symptoms.
    if interrupt.seen() {
        return Err(DemoError::Interrupted);
    }
    let rows = played?;
    let good = rows.iter().all(|row| row.as_expected);
    let text = if options.json {
        let document = json!({ "asExpected": good, "rows": rows });
        serde_json::to_string_pretty(&document)? + "\n"
    } else {
        render(&rows)
    };
    io::stdout()
        .lock()
        .write_all(text.as_bytes())
        .map_err(DemoError::Print)?;
    Ok(good)
}

/// One caller.
struct Case {
    who: &'static str,
    client: Option<Client>,
    /// What `client_cert_error` must say; empty for a good certificate.
    error: &'static str,
    version: HttpVersion,
    spoofed: &'static [&'static str],
}

const SPOOFED_HEADERS: [&str; 2] = ["X-Client-Cert-Present: spoof", "X_Client_Cert_Leaf: spoof"];
const SPOOFED_ALL: [&str; 4] = [
    "X-Client-Cert-Present: spoof",
    "X-Client-Cert-Chain-Verified: spoof",
    "X_Client_Cert_Leaf: spoof",
    "X-Forwarded-Client-Cert: By=spoof;Subject=\"CN=spoof\";URI=spiffe://spoof/spoof",
];

impl Case {
    const fn new(who: &'static str, client: Option<Client>, error: &'static str) -> Self {
        Self {
            who,
            client,
            error,
            version: HttpVersion::Http1,
            spoofed: &[],
        }
    }

    const fn http2(mut self) -> Self {
        self.version = HttpVersion::Http2;
        self
    }

    const fn spoofing(mut self, headers: &'static [&'static str]) -> Self {
        self.spoofed = headers;
        self
    }
}

fn cases() -> Vec<Case> {
    let failed = "client_cert_validation_failed";
    vec![
        Case::new("valid", Some(Client::Valid), ""),
        Case::new("valid", Some(Client::Valid), "").http2(),
        Case::new(
            "valid, intermediate sent too",
            Some(Client::ValidWithChain),
            "",
        ),
        Case::new("no certificate", None, NOT_PROVIDED),
        Case::new("no certificate", None, NOT_PROVIDED).http2(),
        Case::new("of another root", Some(Client::Untrusted), failed),
        Case::new("expired", Some(Client::Expired), failed),
        Case::new(
            "for servers only",
            Some(Client::ServerOnly),
            "client_cert_chain_invalid_eku",
        ),
        Case::new("signed with SHA-1", Some(Client::Sha1), failed),
        Case::new(
            "RSA-1024 key",
            Some(Client::Rsa1024),
            "client_cert_invalid_rsa_key_size",
        ),
        Case::new(
            "P-521 key",
            Some(Client::P521),
            "client_cert_unsupported_elliptic_curve_key",
        ),
        Case::new(
            "Ed25519 key",
            Some(Client::Ed25519),
            "client_cert_unsupported_key_algorithm",
        ),
        Case::new("valid, forged headers", Some(Client::Valid), "").spoofing(&SPOOFED_HEADERS),
        Case::new("no certificate, forged headers", None, NOT_PROVIDED).spoofing(&SPOOFED_ALL),
    ]
}

/// What came of one request.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    who: &'static str,
    http: &'static str,
    mode: &'static str,
    status: Option<u16>,
    curl_exit: i32,
    present: Option<String>,
    verified: Option<String>,
    error: Option<String>,
    dns_name_sans: Vec<String>,
    /// The filter's verdict in the access log.
    log_error: Option<String>,
    log_reason: Option<String>,
    /// Every client certificate header the backend saw.
    headers: Vec<(String, String)>,
    as_expected: bool,
    differences: Vec<String>,
}

/// Sends every request in both modes. Without `wasm` nothing judges the
/// clients; the tests use that to see that each of them gets that far.
fn play(envoy: &Path, wasm: Option<&Path>, interrupt: &Interrupt) -> Result<Vec<Row>, DemoError> {
    let dir = TempDir::with_prefix("mtls-gate-demo-").map_err(DemoError::Directory)?;
    let pki = Pki::mint(dir.path())?;
    let server = ServerCertificate::self_signed(&[ALLOW_HOST, REJECT_HOST])?;
    let ca = dir.path().join("server.cert");
    std::fs::write(&ca, &server.certificate_pem).map_err(DemoError::Directory)?;
    let echo = Echo::start()?;
    let mut chains = Vec::new();
    for (host, mode) in [(ALLOW_HOST, ALLOW_MODE), (REJECT_HOST, REJECT_MODE)] {
        let mut chain = Chain::new(&[host], &server);
        if let Some(wasm) = wasm {
            let document = FilterDocument::JsonText(document(&pki, mode)?);
            chain = chain.filter(WasmFilter::new(wasm, document));
        }
        chains.push(chain);
    }
    let listeners = [Listener {
        name: LISTENER.to_owned(),
        chains,
    }];
    interrupt.check()?;
    let mut config = EnvoyConfig::new(bootstrap(&listeners, echo.address(), false));
    config.binary = envoy.to_owned();
    let envoy = Envoy::start(&config)?;
    let port = envoy.port(LISTENER)?;

    let mut rows = Vec::new();
    let cases = cases();
    for (host, mode) in [(ALLOW_HOST, ALLOW_MODE), (REJECT_HOST, REJECT_MODE)] {
        for case in &cases {
            interrupt.check()?;
            let id = format!("{REQUEST_ID}: {}", rows.len());
            let mut curl = Curl::new(port, host).version(case.version).header(&id);
            curl.ca = Some(ca.clone());
            curl.max_time = REQUEST_TIMEOUT;
            if let Some(client) = case.client {
                curl = curl
                    .identity(&pki.cert(client), &pki.key(client))
                    .weak_certificates(matches!(client, Client::Sha1 | Client::Rsa1024));
            }
            for line in case.spoofed {
                curl = curl.header(line);
            }
            let before = echo.requests();
            let outcome = curl.run()?;
            let reached = echo.requests().saturating_sub(before);
            let reply = EchoReply::parse(outcome.body()).ok();
            rows.push(judge(
                case,
                mode,
                outcome.exit,
                outcome.status(),
                &outcome.stderr,
                reply.as_ref(),
                reached,
            ));
        }
    }
    // The log is written with a delay; waiting once is faster than once a row.
    for (number, (row, case)) in rows.iter_mut().zip(cases.iter().chain(&cases)).enumerate() {
        let id = number.to_string();
        let line = envoy.wait_for_access_log(LOG_TIMEOUT, |line| {
            line.get("id").and_then(Value::as_str) == Some(id.as_str())
        });
        judge_log(row, case, line.ok().as_ref());
    }
    Ok(rows)
}

/// The filter's configuration.
fn document(pki: &Pki, mode: &str) -> Result<Value, MintError> {
    Ok(json!({
        "trustConfig": { "trustStores": [{
            "trustAnchors": [{ "pemCertificate": pki.root_pem()? }],
            "intermediateCas": [{ "pemCertificate": pki.intermediate_pem()? }],
        }] },
        "serverTlsPolicy": { "mtlsPolicy": { "clientValidationMode": mode } },
        "customRequestHeaders": HEADERS,
    }))
}

/// Compares what came back with what should have.
fn judge(
    case: &Case,
    mode: &'static str,
    exit: i32,
    status: Option<u16>,
    stderr: &str,
    reply: Option<&EchoReply>,
    reached: u64,
) -> Row {
    let mut differences = Vec::new();
    let mut expect = |holds: bool, what: String| {
        if !holds {
            differences.push(what);
        }
    };
    let headers: Vec<_> = reply
        .map(|reply| reply.headers.as_slice())
        .unwrap_or_default()
        .iter()
        .filter(|(name, _)| is_client_cert_header(name))
        .cloned()
        .collect();
    let one = |name: &str| reply.and_then(|reply| reply.one(name)).map(str::to_owned);
    let present = one("x-client-cert-present");
    let verified = one("x-client-cert-chain-verified");
    let error = one("x-client-cert-error");
    let sans = one("x-client-cert-dnsname-sans").unwrap_or_default();
    let dns_name_sans = decode_sans(&sans);

    if mode == REJECT_MODE && !case.error.is_empty() {
        let closed = match case.version {
            HttpVersion::Http1 => EMPTY_REPLY,
            HttpVersion::Http2 => HTTP2_STREAM,
        };
        expect(
            exit == closed,
            format!("curl exit {exit}, not {closed} ({stderr})"),
        );
        expect(
            status.is_none(),
            "a response instead of a closed connection".to_owned(),
        );
        expect(reached == 0, "the backend received the request".to_owned());
    } else {
        expect(
            exit == 0 && status == Some(200),
            format!("status {status:?}, curl exit {exit} ({stderr})"),
        );
        if reply.is_some() {
            let mut value = |name: &str, got: &Option<String>, wanted: &str| {
                // An empty variable may be sent as an empty header or not at all.
                let got = got.as_deref().unwrap_or_default();
                expect(got == wanted, format!("{name} {got:?}, not {wanted:?}"));
            };
            value("present", &present, bool_text(case.client.is_some()));
            value("verified", &verified, bool_text(case.error.is_empty()));
            value("error", &error, case.error);
            if case.error.is_empty() {
                expect(
                    dns_name_sans == [CLIENT_NAME],
                    format!("dNSName SANs {dns_name_sans:?}, not {CLIENT_NAME}"),
                );
                let leaf = one("x-client-cert-leaf").unwrap_or_default();
                expect(
                    is_byte_sequence(&leaf),
                    "no leaf certificate in its header".to_owned(),
                );
            }
            if case.client == Some(Client::ValidWithChain) {
                let chain = one("x-client-cert-chain").unwrap_or_default();
                expect(
                    is_byte_sequence(&chain),
                    "no intermediate in the chain header".to_owned(),
                );
            }
        } else {
            expect(false, "the answer is not the backend's".to_owned());
        }
    }
    if let Some(reply) = reply {
        let mut seen: BTreeMap<String, Vec<&str>> = BTreeMap::new();
        for (name, value) in &reply.headers {
            expect(
                !name.contains(SPOOF) && !value.contains(SPOOF),
                format!("a forged header arrived: {name}: {}", shorten(value, 40)),
            );
            if is_client_cert_header(name) {
                seen.entry(fold(name)).or_default().push(value);
            }
        }
        for (name, values) in seen {
            expect(
                values.len() == 1,
                format!("{name} arrived {} times", values.len()),
            );
        }
    }
    Row {
        who: case.who,
        http: match case.version {
            HttpVersion::Http1 => "1.1",
            HttpVersion::Http2 => "2",
        },
        mode,
        status,
        curl_exit: exit,
        present,
        verified,
        error,
        dns_name_sans,
        log_error: None,
        log_reason: None,
        headers,
        as_expected: differences.is_empty(),
        differences,
    }
}

/// Adds what the access log says of the request.
fn judge_log(row: &mut Row, case: &Case, line: Option<&Value>) {
    let text = |name: &str| {
        line.and_then(|line| line.get(name)?.as_str())
            .filter(|text| !text.is_empty() && *text != "-")
            .map(str::to_owned)
    };
    row.log_error = text("error");
    row.log_reason = text("reason");
    if line.is_none() {
        row.differences.push("no access log line".to_owned());
    } else if row.log_error.as_deref().unwrap_or_default() != case.error {
        row.differences.push(format!(
            "the access log says {:?}, not {:?}",
            row.log_error.as_deref().unwrap_or_default(),
            case.error
        ));
    }
    row.as_expected = row.differences.is_empty();
}

fn bool_text(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

/// Many backends take `_` for `-`, so the two are one name here.
fn fold(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

fn is_client_cert_header(name: &str) -> bool {
    fold(name).starts_with(HEADER_PREFIX)
}

/// `client_cert_dnsname_sans` is a list of Base64 texts, separated by commas.
fn decode_sans(list: &str) -> Vec<String> {
    list.split(',')
        .map(str::trim)
        .filter(|item| !item.is_empty())
        .map(|item| {
            let decoded = STANDARD
                .decode(item.trim_matches(':'))
                .ok()
                .and_then(|bytes| String::from_utf8(bytes).ok());
            decoded.unwrap_or_else(|| format!("not Base64: {item}"))
        })
        .collect()
}

/// An RFC 8941 byte sequence (or a list of them): `:...:`, not empty.
fn is_byte_sequence(value: &str) -> bool {
    value.len() > 2 && value.starts_with(':') && value.ends_with(':')
}

fn shorten(text: &str, most: usize) -> String {
    let count = text.chars().count();
    if count <= most {
        return text.to_owned();
    }
    let kept: String = text.chars().take(most).collect();
    format!("{kept}… ({count} characters)")
}

fn render(rows: &[Row]) -> String {
    let mut out = String::from(
        "Each caller sends one request through Envoy and the filter. \"closed\" is a reset stream\n\
         without an HTTP response: curl exits 52 on HTTP/1.1, 92 on HTTP/2. Why is in the access log.\n",
    );
    for mode in [ALLOW_MODE, REJECT_MODE] {
        out.push_str(&format!("\n{mode}\n"));
        let mut table = new_table([
            "Caller",
            "Answer",
            "Verified",
            "client_cert_error, why",
            "ok?",
        ]);
        for row in rows.iter().filter(|row| row.mode == mode) {
            table.add_row(cells(row));
        }
        // The longest error string stays in one piece.
        if let Some(column) = table.column_mut(3) {
            column.set_constraint(ColumnConstraint::LowerBoundary(Width::Fixed(44)));
        }
        out.push_str(&format!("{table}\n"));
    }
    let fullest = rows.iter().max_by_key(|row| row.headers.len());
    if let Some(row) = fullest.filter(|row| !row.headers.is_empty()) {
        out.push_str(&format!(
            "\nWhat the backend saw of the caller \"{}\":\n",
            row.who
        ));
        if row.who.contains("forged") {
            out.push_str(&format!("(it had sent {})\n", SPOOFED_HEADERS.join(", ")));
        }
        out.push('\n');
        let mut table = new_table(["Header", "Value"]);
        for (name, value) in &row.headers {
            table.add_row([name.clone(), shorten(value, 70)]);
        }
        out.push_str(&table.to_string());
        out.push('\n');
    }
    let odd = rows.iter().filter(|row| !row.as_expected).count();
    out.push_str(&match odd {
        0 => format!("\nAll {} requests went as expected.\n", rows.len()),
        _ => format!("\n{odd} of {} requests NOT AS EXPECTED.\n", rows.len()),
    });
    out
}

fn cells(row: &Row) -> [String; 5] {
    let answer = match row.status {
        Some(status) => status.to_string(),
        None => format!("closed (curl {})", row.curl_exit),
    };
    let caller = match row.http {
        "1.1" => row.who.to_owned(),
        version => format!("{}, HTTP/{version}", row.who),
    };
    let why: Vec<String> = [&row.log_error, &row.log_reason]
        .into_iter()
        .flatten()
        .map(|text| shorten(text, 120))
        .collect();
    let verdict = if row.as_expected {
        "ok".to_owned()
    } else {
        format!("NOT AS EXPECTED: {}", row.differences.join("; "))
    };
    [
        caller,
        answer,
        row.verified.clone().unwrap_or_default(),
        why.join("\n"),
        verdict,
    ]
}

fn new_table<const N: usize>(titles: [&str; N]) -> Table {
    let mut table = Table::new();
    table
        .load_style(presets::UTF8_FULL_CONDENSED)
        .set_content_arrangement(ContentArrangement::Dynamic)
        .set_header(titles);
    let wanted = std::env::var("COLUMNS")
        .ok()
        .and_then(|columns| columns.parse().ok())
        .map(|columns: u16| columns.max(NARROWEST));
    match wanted {
        Some(width) => {
            table.set_width(width);
        }
        None if !io::stdout().is_terminal() => {
            table.set_width(PLAIN_WIDTH);
        }
        // On a terminal the table asks it.
        None => {}
    }
    table
}

/// Notices Ctrl-C, so that the demo ends by unwinding and stops what it started.
struct Interrupt {
    seen: Arc<AtomicBool>,
    done: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Interrupt {
    /// Without a thread or a handler Ctrl-C simply ends the process, and
    /// Envoy's guard ends Envoy.
    fn watch() -> Self {
        let seen = Arc::new(AtomicBool::new(false));
        let flag = Arc::clone(&seen);
        let (done, finished) = oneshot::channel::<()>();
        let thread = std::thread::Builder::new()
            .name("ctrl-c".to_owned())
            .spawn(move || {
                let Ok(runtime) = tokio::runtime::Builder::new_current_thread()
                    .enable_io()
                    .build()
                else {
                    return;
                };
                runtime.block_on(async move {
                    // A closed terminal and a polite kill end the demo as Ctrl-C does.
                    let (Ok(mut terminate), Ok(mut hang_up)) = (
                        signal(SignalKind::terminate()),
                        signal(SignalKind::hangup()),
                    ) else {
                        return;
                    };
                    tokio::select! {
                        _ = tokio::signal::ctrl_c() => flag.store(true, Ordering::SeqCst),
                        _ = terminate.recv() => flag.store(true, Ordering::SeqCst),
                        _ = hang_up.recv() => flag.store(true, Ordering::SeqCst),
                        _ = finished => {}
                    }
                });
            })
            .ok();
        Self {
            seen,
            done: Some(done),
            thread,
        }
    }

    fn seen(&self) -> bool {
        self.seen.load(Ordering::SeqCst)
    }

    fn check(&self) -> Result<(), DemoError> {
        if self.seen() {
            Err(DemoError::Interrupted)
        } else {
            Ok(())
        }
    }
}

impl Drop for Interrupt {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            // Its panic, if any, has been printed.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::indexing_slicing)]
mod tests {
    use super::*;
    use crate::testbed::envoy::envoy_binary;

    /// The demo must notice a gate that does nothing, and every caller must get
    /// as far as the backend then.
    #[test]
    fn without_the_filter_the_demo_is_not_satisfied() {
        let interrupt = Interrupt {
            seen: Arc::new(AtomicBool::new(false)),
            done: None,
            thread: None,
        };
        let rows = play(&envoy_binary(), None, &interrupt).unwrap();
        assert_eq!(rows.len(), 2 * cases().len());
        for row in &rows {
            assert_eq!(row.status, Some(200), "{row:?}");
            assert!(!row.as_expected, "{row:?}");
        }
        let text = render(&rows);
        assert!(text.contains("NOT AS EXPECTED"));
        assert!(text.contains("x_client_cert_leaf arrived") || text.contains("forged header"));
        let all = &rows[rows.len() - 1];
        assert!(
            all.differences
                .iter()
                .any(|what| what.contains("backend received")),
            "{all:?}"
        );
    }

    #[test]
    fn missing_files_name_the_command_that_makes_them() {
        let here = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/Cargo.toml"));
        let nowhere = PathBuf::from("/nowhere");
        let error = run(DemoOptions {
            envoy: nowhere.clone(),
            wasm: nowhere.clone(),
            json: false,
        });
        assert!(error.unwrap_err().to_string().contains("make tools"));
        let error = run(DemoOptions {
            envoy: here,
            wasm: nowhere,
            json: false,
        });
        assert!(error.unwrap_err().to_string().contains("make wasm"));
    }

    fn reply(headers: &[(&str, &str)]) -> EchoReply {
        EchoReply {
            method: "GET".to_owned(),
            path: "/".to_owned(),
            version: "HTTP/1.1".to_owned(),
            headers: headers
                .iter()
                .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
                .collect(),
            trailers: Vec::new(),
            body_bytes: 0,
        }
    }

    const GOOD: [(&str, &str); 4] = [
        ("x-client-cert-present", "true"),
        ("x-client-cert-chain-verified", "true"),
        ("x-client-cert-dnsname-sans", "bXktY2xpZW50LmV4YW1wbGUuY29t"),
        ("x-client-cert-leaf", ":AAAA:"),
    ];

    #[test]
    fn a_good_answer_is_as_expected_and_a_forged_one_is_not() {
        let case = Case::new("valid", Some(Client::Valid), "");
        let good = reply(&GOOD);
        let mut row = judge(&case, ALLOW_MODE, 0, Some(200), "", Some(&good), 1);
        judge_log(&mut row, &case, Some(&json!({ "error": null })));
        assert!(row.as_expected, "{:?}", row.differences);
        assert_eq!(row.dns_name_sans, [CLIENT_NAME]);

        let mut forged = GOOD.to_vec();
        forged.push(("x_client_cert_present", "true"));
        let forged = reply(&forged);
        let row = judge(&case, REJECT_MODE, 0, Some(200), "", Some(&forged), 1);
        assert_eq!(row.differences, ["x-client-cert-present arrived 2 times"]);
    }

    #[test]
    fn a_refusal_is_judged_by_curl_the_backend_and_the_log() {
        let case = Case::new("no certificate", None, NOT_PROVIDED).http2();
        let line = json!({ "error": NOT_PROVIDED, "reason": "none" });
        let mut row = judge(&case, REJECT_MODE, HTTP2_STREAM, None, "", None, 0);
        judge_log(&mut row, &case, Some(&line));
        assert!(row.as_expected, "{:?}", row.differences);
        let mut row = judge(&case, REJECT_MODE, 7, None, "", None, 1);
        judge_log(&mut row, &case, None);
        assert_eq!(row.differences.len(), 3);
    }
}
