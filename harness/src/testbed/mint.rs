//! Certificates for the demo, made with the `openssl` commands that Google's
//! documentation gives its readers (root, intermediate, client), and others
//! that each break one rule.

use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use thiserror::Error;

/// The dNSName of every client certificate.
pub const CLIENT_NAME: &str = "my-client.example.com";

const CA_CONF: &str = "\
[req]
distinguished_name = empty_distinguished_name

[empty_distinguished_name]

[ca_exts]
basicConstraints = critical,CA:TRUE
keyUsage = keyCertSign
extendedKeyUsage = clientAuth
";

/// Used by `openssl ca`, the one command that sets dates in the past in every
/// version of OpenSSL (`x509 -not_after` came with 3.4).
const PAST_CONF: &str = "\
[ca]
default_ca = past
[past]
database = past.index
serial = past.serial
new_certs_dir = .
default_md = sha256
policy = any
unique_subject = no
[any]
commonName = supplied
";

/// A kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Client {
    /// Signed by the intermediate, nothing wrong with it.
    Valid,
    /// The same, with the intermediate sent along.
    ValidWithChain,
    /// Signed by a root that nobody trusts.
    Untrusted,
    /// Its time is over.
    Expired,
    /// For servers only.
    ServerOnly,
    /// Signed with SHA-1.
    Sha1,
    /// Its RSA key has 1024 bits.
    Rsa1024,
    /// Its key is on P-521.
    P521,
    /// Its key is Ed25519.
    Ed25519,
}

/// Why minting failed.
#[derive(Debug, Error)]
pub enum MintError {
    /// A file could not be written or read.
    #[error("{}: {source}", path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The command is missing.
    #[error("openssl could not be started (is it installed?): {0}")]
    Start(#[source] io::Error),
    /// The command failed.
    #[error("openssl {command} ended with {status}: {stderr}")]
    Failed {
        /// Its arguments.
        command: String,
        /// Its end.
        status: std::process::ExitStatus,
        /// What it printed.
        stderr: String,
    },
    /// A minting thread panicked.
    #[error("a minting thread panicked")]
    Panicked,
}

/// The certificates in a directory.
#[derive(Debug, Clone)]
pub struct Pki {
    dir: PathBuf,
}

impl Pki {
    /// Mints everything into `dir`. Takes about as long as four RSA-2048 keys.
    ///
    /// # Errors
    /// When the `openssl` command is missing or fails.
    pub fn mint(dir: &Path) -> Result<Self, MintError> {
        let pki = Self {
            dir: dir.to_owned(),
        };
        pki.write("example.cnf", CA_CONF)?;
        pki.write("client.cnf", &client_conf("clientAuth"))?;
        pki.write("server.cnf", &client_conf("serverAuth"))?;
        pki.write("past.cnf", PAST_CONF)?;
        pki.write("past.index", "")?;
        pki.write("past.serial", "03\n")?;
        // Keys first, all at once; making them is most of the time.
        pki.at_once(&[
            &|| pki.root("root", "/CN=root"),
            &|| pki.root("other", "/CN=other root"),
            &|| {
                pki.openssl(
                    "req -new -sha256 -newkey rsa:2048 -nodes -subj /CN=int -config example.cnf \
                     -extensions ca_exts -keyout int.key -out int.req",
                )
            },
            &|| {
                pki.openssl(
                    "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out client.key",
                )?;
                pki.request("client")
            },
            &|| {
                pki.openssl(
                    "genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out rsa1024.key",
                )?;
                pki.request("rsa1024")?;
                pki.openssl(
                    "genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-521 \
                     -pkeyopt ec_param_enc:named_curve -out p521.key",
                )?;
                pki.request("p521")?;
                pki.openssl("genpkey -algorithm ED25519 -out ed25519.key")?;
                pki.request("ed25519")
            },
        ])?;
        pki.openssl(
            "x509 -req -sha256 -CAkey root.key -CA root.cert -set_serial 1 -days 3650 \
             -extfile example.cnf -extensions ca_exts -in int.req -out int.cert",
        )?;
        let by_int = |name: &str, request: &str, serial: u8, more: &str| {
            pki.openssl(&format!(
                "x509 -req -in {request}.req -CA int.cert -CAkey int.key -set_serial {serial} \
                 -days 365 -out {name}.cert -extensions v3_req {more}"
            ))
        };
        pki.at_once(&[
            &|| {
                by_int("client", "client", 2, "-sha256 -extfile client.cnf")?;
                by_int("server-only", "client", 4, "-sha256 -extfile server.cnf")?;
                by_int("sha1", "client", 5, "-sha1 -extfile client.cnf")
            },
            &|| {
                by_int("rsa1024", "rsa1024", 6, "-sha256 -extfile client.cnf")?;
                by_int("p521", "p521", 7, "-sha256 -extfile client.cnf")?;
                by_int("ed25519", "ed25519", 8, "-sha256 -extfile client.cnf")
            },
            &|| {
                pki.openssl(
                    "x509 -req -sha256 -in client.req -CA other.cert -CAkey other.key \
                     -set_serial 2 -days 365 -out untrusted.cert -extfile client.cnf \
                     -extensions v3_req",
                )?;
                pki.openssl(
                    "ca -config past.cnf -batch -notext -startdate 20230101000000Z \
                     -enddate 20240101000000Z -cert int.cert -keyfile int.key -in client.req \
                     -out expired.cert -extfile client.cnf -extensions v3_req",
                )
            },
        ])?;
        let chain = pki.read("client.cert")? + &pki.read("int.cert")?;
        pki.write("client-chain.cert", &chain)?;
        Ok(pki)
    }

    /// The trusted root's PEM.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn root_pem(&self) -> Result<String, MintError> {
        self.read("root.cert")
    }

    /// The intermediate's PEM.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn intermediate_pem(&self) -> Result<String, MintError> {
        self.read("int.cert")
    }

    /// A client's certificate file.
    #[must_use]
    pub fn cert(&self, client: Client) -> PathBuf {
        self.dir.join(match client {
            Client::Valid => "client.cert",
            Client::ValidWithChain => "client-chain.cert",
            Client::Untrusted => "untrusted.cert",
            Client::Expired => "expired.cert",
            Client::ServerOnly => "server-only.cert",
            Client::Sha1 => "sha1.cert",
            Client::Rsa1024 => "rsa1024.cert",
            Client::P521 => "p521.cert",
            Client::Ed25519 => "ed25519.cert",
        })
    }

    /// A client's key file. Clients that differ in the certificate only share a key.
    #[must_use]
    pub fn key(&self, client: Client) -> PathBuf {
        self.dir.join(match client {
            Client::Rsa1024 => "rsa1024.key",
            Client::P521 => "p521.key",
            Client::Ed25519 => "ed25519.key",
            _ => "client.key",
        })
    }

    fn root(&self, name: &str, subject: &str) -> Result<(), MintError> {
        // The subject holds a space, so it is no part of the split text.
        self.openssl_with(
            &format!(
                "req -x509 -new -sha256 -newkey rsa:2048 -nodes -days 3650 -config example.cnf \
                 -extensions ca_exts -keyout {name}.key -out {name}.cert -subj"
            ),
            &[subject],
        )
    }

    fn request(&self, name: &str) -> Result<(), MintError> {
        self.openssl(&format!(
            "req -new -key {name}.key -out {name}.req -config client.cnf"
        ))
    }

    fn openssl(&self, arguments: &str) -> Result<(), MintError> {
        self.openssl_with(arguments, &[])
    }

    fn openssl_with(&self, arguments: &str, more: &[&str]) -> Result<(), MintError> {
        let output = Command::new("openssl")
            .args(arguments.split_whitespace())
            .args(more)
            .current_dir(&self.dir)
            .stdin(Stdio::null())
            .output()
            .map_err(MintError::Start)?;
        if output.status.success() {
            return Ok(());
        }
        Err(MintError::Failed {
            command: arguments.to_owned(),
            status: output.status,
            stderr: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
        })
    }

    /// Runs all jobs in threads and gives the first failure.
    fn at_once(
        &self,
        jobs: &[&(dyn Fn() -> Result<(), MintError> + Sync)],
    ) -> Result<(), MintError> {
        std::thread::scope(|scope| {
            let threads: Vec<_> = jobs.iter().map(|job| scope.spawn(job)).collect();
            let mut result = Ok(());
            for thread in threads {
                let outcome = thread.join().unwrap_or(Err(MintError::Panicked));
                result = result.and(outcome);
            }
            result
        })
    }

    fn read(&self, name: &str) -> Result<String, MintError> {
        let path = self.dir.join(name);
        std::fs::read_to_string(&path).map_err(|source| MintError::File { path, source })
    }

    fn write(&self, name: &str, text: &str) -> Result<(), MintError> {
        let path = self.dir.join(name);
        std::fs::write(&path, text).map_err(|source| MintError::File { path, source })
    }
}

fn client_conf(usage: &str) -> String {
    format!(
        "\
[req]
distinguished_name = req_distinguished_name
req_extensions = v3_req
prompt = no

[req_distinguished_name]
CN = {CLIENT_NAME}

[v3_req]
keyUsage = critical,digitalSignature,keyEncipherment
extendedKeyUsage = {usage}
subjectAltName = @alt_names

[alt_names]
DNS.1 = {CLIENT_NAME}
"
    )
}
