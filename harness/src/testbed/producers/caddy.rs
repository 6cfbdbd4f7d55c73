//! Caddy: the example is a site block.

use super::{ProducerError, Site};

pub(super) fn prepare(site: &Site<'_>) -> Result<Vec<String>, ProducerError> {
    let block = site.example(&[
        (
            "\n:8443 {",
            format!("\n:{} {{\n\tbind 127.0.0.1", site.port),
        ),
        ("/etc/tls/server.cert", site.cert()),
        ("/etc/tls/server.key", site.key()),
        ("127.0.0.1:8080", site.backend.to_string()),
    ])?;
    // Nothing outside of its directory, and an end without waiting for idle connections.
    let around = format!(
        "{{\n\tadmin off\n\tpersist_config off\n\tauto_https disable_redirects\n\tskip_install_trust\n\
         \tgrace_period 1s\n\tstorage file_system {}\n}}\n",
        site.dir.join("storage").display()
    );
    site.write("Caddyfile", &(around + &block))?;
    Ok(["run", "--adapter", "caddyfile", "--config", "Caddyfile"]
        .map(str::to_owned)
        .into())
}
