//! HAProxy: the example is a frontend and a backend.

use super::{ProducerError, Site, both};

const AROUND: &str = "\
global
    log stderr local0
    maxconn 100
defaults
    mode http
    log global
    timeout connect 5s
    timeout client 20s
    timeout server 20s
";

pub(super) fn prepare(site: &Site<'_>) -> Result<Vec<String>, ProducerError> {
    site.write("server.pem", &both(site.server)?)?;
    let frontend = site.example(&[
        ("bind :8443", format!("bind 127.0.0.1:{}", site.port)),
        ("/etc/tls/server.pem", "server.pem".to_owned()),
        // Any will do: its verdict is ignored.
        ("/etc/tls/client-ca.cert", site.cert()),
        ("127.0.0.1:8080", site.backend.to_string()),
    ])?;
    site.write("frontend.cfg", &frontend)?;
    site.write("around.cfg", AROUND)?;
    // -db: one process, in the foreground.
    Ok(["-db", "-f", "around.cfg", "-f", "frontend.cfg"]
        .map(str::to_owned)
        .into())
}
