//! Files for `mtls-gate serve` in a temporary directory: a PKI, Google's resources, clients.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;
use time::{Duration, OffsetDateTime};

use crate::fixtures::der;
use crate::fixtures::mint::{Cert, Issued, dns, eku};
use crate::testbed::client::{self, ClientError, ClientIdentity, ClientOptions, Connection};

/// `ALLOW_INVALID_OR_MISSING_CLIENT_CERT`
pub const ALLOW: &str = "ALLOW_INVALID_OR_MISSING_CLIENT_CERT";
/// `REJECT_INVALID`
pub const REJECT: &str = "REJECT_INVALID";

/// What most tests let a backend know.
pub const HEADERS: [&str; 4] = [
    "X-Client-Cert-Present:{client_cert_present}",
    "X-Client-Cert-Chain-Verified:{client_cert_chain_verified}",
    "X-Client-Cert-Error:{client_cert_error}",
    "X-Client-Cert-SPIFFE:{client_cert_spiffe_id}",
];

/// The directory, and what most of its files come from.
pub struct Front {
    dir: TempDir,
    /// The trust anchor that clients are issued under.
    pub root: Issued,
}

/// A certificate chain and its key, as files.
#[derive(Clone, Debug)]
pub struct Pair {
    /// PEM, end entity first.
    pub cert: PathBuf,
    /// PEM
    pub key: PathBuf,
}

impl Pair {
    /// The two as a client presents them.
    ///
    /// # Errors
    /// A file cannot be read.
    pub fn identity(&self) -> io::Result<ClientIdentity> {
        Ok(ClientIdentity {
            chain_pem: fs::read(&self.cert)?,
            key_pem: fs::read(&self.key)?,
        })
    }
}

/// Connects to `127.0.0.1:{port}` as a client of `front.test`, for HTTP/1.1.
///
/// # Errors
/// There is no connection.
pub fn connect(port: u16, client: Option<&Pair>) -> Result<Connection, ClientError> {
    let identity = client
        .map(Pair::identity)
        .transpose()
        .map_err(|source| ClientError::Connect { port, source })?;
    let options = ClientOptions::default();
    client::connect(port, "front.test", identity.as_ref(), &options)
}

impl Front {
    /// A directory with a server's pair, a trust config of one root, and a ServerTlsPolicy.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn new(mode: &str) -> io::Result<Self> {
        let front = Self {
            dir: tempfile::tempdir()?,
            root: Cert::ca("mtls-gate front root").self_signed(),
        };
        let server = Cert::client("front server")
            .sans(vec![dns("front.test")])
            .eku(&[eku::SERVER_AUTH])
            .self_signed();
        front.pair("server", &[&server])?;
        front.trust("trust_config.yaml", &front.root)?;
        front.mode(mode)?;
        Ok(front)
    }

    /// A file of the directory.
    #[must_use]
    pub fn file(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Puts a file in place as a whole, as tools do that are careful: nobody sees half of it.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn write(&self, name: &str, text: &str) -> io::Result<PathBuf> {
        let (path, half) = (self.file(name), self.file(&format!("{name}.new")));
        fs::write(&half, text)?;
        fs::rename(&half, &path)?;
        Ok(path)
    }

    /// A resource; JSON is YAML.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn resource(&self, name: &str, value: &Value) -> io::Result<PathBuf> {
        self.write(name, &value.to_string())
    }

    /// A TrustConfig of one anchor.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn trust(&self, name: &str, anchor: &Issued) -> io::Result<PathBuf> {
        let anchors = json!([{ "pemCertificate": pem(anchor) }]);
        self.resource(
            name,
            &json!({ "trustStores": [{ "trustAnchors": anchors }] }),
        )
    }

    /// A TrustConfig of SPIFFE trust domains.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn spiffe_trust(&self, name: &str, domains: &[(&str, &Issued)]) -> io::Result<PathBuf> {
        let stores: serde_json::Map<String, Value> = domains
            .iter()
            .map(|(domain, anchor)| {
                let anchors = json!([{ "pemCertificate": pem(anchor) }]);
                ((*domain).to_owned(), json!({ "trustAnchors": anchors }))
            })
            .collect();
        self.resource(name, &json!({ "spiffeTrustStores": stores }))
    }

    /// The ServerTlsPolicy.
    ///
    /// # Errors
    /// It cannot be written.
    pub fn mode(&self, mode: &str) -> io::Result<PathBuf> {
        let policy = json!({ "mtlsPolicy": { "clientValidationMode": mode } });
        self.resource("server_tls_policy.yaml", &policy)
    }

    /// A chain and the key of its end entity.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn pair(&self, name: &str, chain: &[&Issued]) -> io::Result<Pair> {
        let text: String = chain.iter().map(|one| pem(one)).collect();
        let key = chain
            .first()
            .map(|end_entity| end_entity.cert.key.pkcs8_pem())
            .unwrap_or_default();
        Ok(Pair {
            cert: self.write(&format!("{name}.cert"), &text)?,
            key: self.write(&format!("{name}.key"), &key)?,
        })
    }

    /// The arguments that name the files of [`Front::new`].
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let named = |option: &str, file: &str| [option.to_owned(), text(&self.file(file))];
        [
            named("--trust-config", "trust_config.yaml"),
            named("--server-tls-policy", "server_tls_policy.yaml"),
            named("--cert", "server.cert"),
            named("--key", "server.key"),
        ]
        .concat()
    }

    /// The same, with [`HEADERS`] for a backend and Google's log.
    ///
    /// # Errors
    /// A file cannot be written.
    pub fn arguments_to(&self, backend: &str) -> io::Result<Vec<String>> {
        let headers = json!({ "customRequestHeaders": HEADERS });
        let headers = self.resource("backend.yaml", &headers)?;
        let mut arguments = self.arguments();
        arguments.extend(["--headers".to_owned(), text(&headers)]);
        arguments.extend(["--upstream", backend, "--log-format", "google"].map(str::to_owned));
        Ok(arguments)
    }
}

/// A moment some seconds from now, as the minter takes it.
#[must_use]
pub fn in_seconds(seconds: i64) -> &'static str {
    let moment = OffsetDateTime::now_utc().saturating_add(Duration::seconds(seconds));
    let (year, month, day) = (moment.year(), u8::from(moment.month()), moment.day());
    let (hour, minute, second) = moment.to_hms();
    let text = format!("{year}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    // The minter's dates are constants everywhere else.
    Box::leak(text.into_boxed_str())
}

/// A path as an argument.
#[must_use]
pub fn text(path: &Path) -> String {
    path.display().to_string()
}

/// A certificate in PEM.
#[must_use]
pub fn pem(issued: &Issued) -> String {
    der::pem("CERTIFICATE", &issued.der)
}
