//! nginx: the example is a `server` block, as in `conf.d`.

use super::{ProducerError, Site};

/// One process, and nothing outside of its directory.
const AROUND: &str = "\
daemon off;
master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
    access_log access.log;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    include server.conf;
}
";

pub(super) fn prepare(site: &Site<'_>) -> Result<Vec<String>, ProducerError> {
    let server = site.example(&[
        (
            "listen 8443 ssl",
            format!("listen 127.0.0.1:{} ssl", site.port),
        ),
        ("/etc/tls/server.cert", site.cert()),
        ("/etc/tls/server.key", site.key()),
        ("127.0.0.1:8080", site.backend.to_string()),
    ])?;
    site.write("server.conf", &server)?;
    site.write("nginx.conf", AROUND)?;
    let dir = site.dir.display().to_string();
    Ok(["-p", &dir, "-e", "stderr", "-c", "nginx.conf"]
        .map(str::to_owned)
        .into())
}
