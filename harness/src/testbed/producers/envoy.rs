//! Envoy as the proxy in front; its life as the host of the filter is [`crate::testbed::envoy`].

use super::{ProducerError, Site};

pub(super) fn prepare(site: &Site<'_>) -> Result<Vec<String>, ProducerError> {
    let bootstrap = site.example(&[
        ("0.0.0.0", "127.0.0.1".to_owned()),
        ("port_value: 8443", format!("port_value: {}", site.port)),
        (
            "port_value: 8080",
            format!("port_value: {}", site.backend.port()),
        ),
        ("/etc/tls/server.cert", site.cert()),
        ("/etc/tls/server.key", site.key()),
    ])?;
    site.write("envoy.yaml", &bootstrap)?;
    let arguments = [
        "-c",
        "envoy.yaml",
        "--disable-hot-restart",
        "--concurrency",
        "1",
    ];
    Ok(arguments.map(str::to_owned).into())
}
