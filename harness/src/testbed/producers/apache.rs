//! Apache httpd: the example is a virtual host, as in `sites-enabled`.

use super::{ProducerError, Site, tools};

const MODULES: [&str; 8] = [
    "mpm_event",
    "authz_core",
    "headers",
    "proxy",
    "proxy_http",
    "setenvif",
    "socache_shmcb",
    "ssl",
];

pub(super) fn prepare(site: &Site<'_>) -> Result<Vec<String>, ProducerError> {
    let host = site.example(&[
        ("Listen 8443", format!("Listen 127.0.0.1:{}", site.port)),
        ("*:8443", format!("127.0.0.1:{}", site.port)),
        ("/etc/tls/server.cert", site.cert()),
        ("/etc/tls/server.key", site.key()),
        ("127.0.0.1:8080", site.backend.to_string()),
    ])?;
    site.write("site.conf", &host)?;
    let dir = site.dir.display();
    let tools = tools();
    let tools = std::path::absolute(&tools).map_err(super::file(&tools))?;
    let modules: String = MODULES
        .iter()
        .map(|name| {
            let file = tools.join(format!("apache2-modules/mod_{name}.so"));
            format!("LoadModule {name}_module {}\n", file.display())
        })
        .collect();
    // As root, httpd wants to know whom to become; with -X it becomes nobody.
    let around = format!(
        "ServerRoot {dir}\nServerName producer.test\nPidFile httpd.pid\nDefaultRuntimeDir {dir}\n\
         Mutex pthread\nErrorLog /dev/stderr\n{modules}\
         <IfModule unixd_module>\nUser nobody\nGroup nogroup\n</IfModule>\n\
         ThreadsPerChild 8\nInclude site.conf\n"
    );
    site.write("httpd.conf", &around)?;
    // -X: one process, in the foreground.
    let config = site.dir.join("httpd.conf").display().to_string();
    Ok(["-X", "-f", &config].map(str::to_owned).into())
}
