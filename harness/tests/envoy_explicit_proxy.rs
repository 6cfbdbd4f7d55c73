//! `examples/secure-web-proxy/envoy.yaml`, run as it stands in a real Envoy, and attacked.
#![allow(clippy::panic, clippy::unwrap_used, clippy::indexing_slicing)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, UdpSocket};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use mtls_gate::fixtures::mint::{Cert, dns};
use mtls_gate::goldens::testdata;
use mtls_gate::testbed::dns::Dns;
use mtls_gate::testbed::echo::{Echo, EchoReply};
use mtls_gate::testbed::envoy::{Envoy, EnvoyConfig, filter_file};
use mtls_gate::testbed::front::{self, ALLOW, Front, Pair, REJECT, pem};
use mtls_gate::testbed::serve::Serve;
use mtls_gate::testbed::tunnel::{self, Through};
use serde_json::{Value, json};

const CLIENT: &str = "my-client.example.com";
const LEDGER: &str = "ledger.corp.example";
const LOOPBACK: Ipv4Addr = Ipv4Addr::LOCALHOST;
/// TEST-NET-1: nobody answers there.
const NOBODY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

const MANAGER: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config";
const ANCHOR: &str = "/static_resources/listeners/0/filter_chains/0/filters/0/typed_config\
    /http_filters/0/typed_config/config/configuration/value/trustConfig/trustStores/0\
    /trustAnchors/0";
const CLUSTER: &str = "/static_resources/clusters/0";

/// The example with what belongs to a machine replaced.
struct Example {
    bootstrap: Value,
    front: Front,
    dns: Dns,
}

impl Example {
    fn new(mode: &str) -> Self {
        let example = testdata().join("../examples/secure-web-proxy/envoy.yaml");
        let front = Front::new(mode).unwrap();
        let dns = Dns::start(&[
            (LEDGER, &[LOOPBACK]),
            ("loopback.test", &[LOOPBACK]),
            ("zero.test", &[Ipv4Addr::UNSPECIFIED]),
            ("metadata.test", &[Ipv4Addr::new(169, 254, 169, 254)]),
            ("two.test", &[NOBODY, LOOPBACK]),
            ("two-reversed.test", &[LOOPBACK, NOBODY]),
        ])
        .unwrap();
        let mut this = Self {
            bootstrap: serde_saphyr::from_str(&fs::read_to_string(example).unwrap()).unwrap(),
            front,
            dns,
        };
        let listener = "/static_resources/listeners/0/address/socket_address";
        let tls = "/static_resources/listeners/0/filter_chains/0/transport_socket/typed_config\
                   /common_tls_context/tls_certificates/0";
        let plugin = format!("{MANAGER}/http_filters/0/typed_config/config");
        let document = format!("{plugin}/configuration/value");
        let admin =
            json!({ "address": { "pipe": { "path": "/run/mtls-gate/admin.sock", "mode": 384 } } });
        let reachable =
            json!({ "address": { "socket_address": { "address": "127.0.0.1", "port_value": 0 } } });
        this.replace("/admin", &admin, reachable);
        this.replace(
            &format!("{listener}/address"),
            &json!("0.0.0.0"),
            json!("127.0.0.1"),
        );
        this.replace(&format!("{listener}/port_value"), &json!(8443), json!(0));
        for (what, file) in [
            ("certificate_chain", "server.cert"),
            ("private_key", "server.key"),
        ] {
            let ours = json!(this.front.file(file));
            let theirs = json!(format!("/etc/mtls-gate/{file}"));
            this.replace(&format!("{tls}/{what}/filename"), &theirs, ours);
        }
        this.replace(
            &format!("{plugin}/vm_config/code/local/filename"),
            &json!("/etc/mtls-gate/mtls_gate_filter.wasm"),
            json!(fs::canonicalize(filter_file()).unwrap()),
        );
        let root = json!(pem(&this.front.root));
        this.replace(
            &format!("{ANCHOR}/pemCertificate"),
            &json!("-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----\n"),
            root,
        );
        this.replace(
            &format!("{document}/serverTlsPolicy/mtlsPolicy/clientValidationMode"),
            &json!(REJECT),
            json!(mode),
        );
        if let Some(own) = own_address() {
            let outward =
                "policies/outward/permissions/0/and_rules/rules/1/not_rule/or_rules/rules";
            this.replace(
                &format!(
                    "{}/{outward}/10/matcher/typed_config/upstream_ip/address_prefix",
                    rules()
                ),
                &json!("192.0.2.10"),
                json!(own),
            );
        }
        let resolver = json!({
            "name": "envoy.network.dns_resolver.cares",
            "typed_config": {
                "@type": "type.googleapis.com/envoy.extensions.network.dns_resolver.cares.v3.CaresDnsResolverConfig",
                "resolvers": [{ "socket_address": {
                    "address": "127.0.0.1", "port_value": this.dns.address().port(),
                } }],
            },
        });
        this.bootstrap.pointer_mut(CLUSTER).unwrap()["typed_dns_resolver_config"] = resolver;
        this
    }

    /// The destination inside is on this port.
    fn ledger(mut self, port: u16) -> Self {
        let inside = format!("{}/policies/ledger/permissions/0/and_rules/rules", rules());
        self.replace(
            &format!("{inside}/0/header/string_match/exact"),
            &json!("ledger.corp.example:443"),
            json!(format!("{LEDGER}:{port}")),
        );
        self.replace(
            &format!("{inside}/1/matcher/typed_config/upstream_port_range"),
            &json!({ "start": 443, "end": 444 }),
            json!({ "start": port, "end": u32::from(port) + 1 }),
        );
        self
    }

    /// The AuthzPolicy allows every host.
    fn any_host(mut self) -> Self {
        let operation = format!(
            "{MANAGER}/http_filters/0/typed_config/config/configuration/value/authzPolicies/0\
             /httpRules/0/to/operations/0"
        );
        *self.at(&operation) = json!({ "methods": ["CONNECT"] });
        self
    }

    fn at(&mut self, pointer: &str) -> &mut Value {
        self.bootstrap
            .pointer_mut(pointer)
            .unwrap_or_else(|| panic!("{pointer}"))
    }

    fn replace(&mut self, pointer: &str, was: &Value, by: Value) {
        let place = self.at(pointer);
        assert_eq!(&*place, was, "{pointer}");
        *place = by;
    }

    fn start(&self) -> Proxy<'_> {
        let envoy = Envoy::start(&EnvoyConfig::new(self.bootstrap.clone())).unwrap();
        let port = envoy.port("proxy").unwrap();
        Proxy {
            envoy,
            port,
            front: &self.front,
        }
    }
}

fn rules() -> String {
    format!("{MANAGER}/http_filters/2/typed_config/upstream_http_filters/0/typed_config/rules")
}

struct Proxy<'a> {
    envoy: Envoy,
    port: u16,
    front: &'a Front,
}

impl Proxy<'_> {
    fn client(&self, name: &str) -> Pair {
        let issued = Cert::client(name)
            .sans(vec![dns(name)])
            .by(&self.front.root);
        self.front.pair(name, &[&issued]).unwrap()
    }

    fn http1(&self, client: &Pair, destination: &str) -> u16 {
        tunnel::ask(
            &mut front::connect(self.port, Some(client)).unwrap(),
            destination,
        )
        .unwrap()
    }

    fn http2(&self, client: &Pair, destination: &str, inside: &[u8]) -> (u16, Vec<u8>) {
        let server = fs::read(self.front.file("server.cert")).unwrap();
        tunnel::ask_http2(self.port, client, &server, destination, None, inside)
            .unwrap_or_else(|error| panic!("{destination}: {error}\n{}", self.envoy.log()))
    }

    /// Requests that the admin interface has seen, this question not among them.
    fn admin_requests(&self) -> u64 {
        self.envoy.stats("http.admin.downstream_rq_total").unwrap()["http.admin.downstream_rq_total"]
    }

    fn wait_for_log(&self, wanted: &str) {
        let since = Instant::now();
        while !self.envoy.log().contains(wanted) {
            assert!(
                since.elapsed() < Duration::from_secs(5),
                "no {wanted:?} in:\n{}",
                self.envoy.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// This host's address on another interface than loopback, if it has one.
fn own_address() -> Option<String> {
    let socket = UdpSocket::bind("0.0.0.0:0").ok()?;
    // Sends nothing.
    socket.connect("192.0.2.1:9").ok()?;
    let address = socket.local_addr().ok()?.ip();
    (!address.is_loopback() && !address.is_unspecified()).then(|| address.to_string())
}

/// An https site on loopback: a `serve` before an echo backend.
fn site(echo: &Echo) -> (Front, Serve) {
    let front = Front::new(ALLOW).unwrap();
    let mut arguments = front.arguments();
    arguments.extend([
        "--upstream".to_owned(),
        format!("http://{}", echo.address()),
    ]);
    let binary = std::path::Path::new(env!("CARGO_BIN_EXE_mtls-gate"));
    let serve = Serve::start(binary, &arguments).unwrap();
    (front, serve)
}

#[test]
fn identity_and_host_decide_about_connect() {
    let echo = Echo::start().unwrap();
    let (_files, site) = site(&echo);
    let url = format!("https://{LEDGER}:{}/", site.port());
    let elsewhere = format!("https://other.test:{}/", site.port());
    for mode in [REJECT, ALLOW] {
        let example = Example::new(mode).ledger(site.port());
        let proxy = example.start();
        let (agent, other) = (proxy.client(CLIENT), proxy.client("other.example.com"));
        let curl = |client, url: &str| tunnel::curl(proxy.port, client, url, &[]).unwrap();
        let through = |exit, proxy, site| Through { exit, proxy, site };
        assert_eq!(
            curl(Some(&agent), &url),
            through(0, 200, 200),
            "{}",
            proxy.envoy.log()
        );
        assert_eq!(curl(Some(&other), &url), through(56, 403, 0));
        assert_eq!(curl(Some(&agent), &elsewhere), through(56, 403, 0));
        // Closed in the one, in the other no certificate is no identity.
        let (exit, status) = if mode == REJECT { (56, 0) } else { (56, 403) };
        assert_eq!(curl(None, &url), through(exit, status, 0), "{mode}");
        proxy.wait_for_log("denied_by_authz_policy");

        // HTTP/2 to the proxy. The site answers something that is no TLS with a TLS alert.
        let destination = format!("{LEDGER}:{}", site.port());
        let (status, back) = proxy.http2(&agent, &destination, b"no TLS\r\n\r\n");
        assert_eq!((status, back.first()), (200, Some(&0x15)));
        assert_eq!(proxy.http2(&other, &destination, b"").0, 403);
        let elsewhere = format!("other.test:{}", site.port());
        assert_eq!(proxy.http2(&agent, &elsewhere, b"").0, 403);
        // Host is not what the tunnel goes to.
        let head = format!("CONNECT {elsewhere} HTTP/1.1\r\nHost: {destination}\r\n\r\n");
        let mut connection = front::connect(proxy.port, Some(&agent)).unwrap();
        let status = tunnel::ask_raw(&mut connection, &head).unwrap();
        assert!(matches!(status, 400 | 403), "{status}");
    }
    assert_eq!(echo.requests(), 2);
}

#[test]
fn nothing_but_connect_goes_through() {
    let echo = Echo::start().unwrap();
    let port = echo.address().port();
    let example = Example::new(REJECT).ledger(port);
    let proxy = example.start();
    let agent = proxy.client(CLIENT);
    for target in ["/".to_owned(), format!("http://{LEDGER}:{port}/")] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {LEDGER}:{port}\r\n\r\n");
        let mut connection = front::connect(proxy.port, Some(&agent)).unwrap();
        assert_eq!(
            tunnel::ask_raw(&mut connection, &head).unwrap(),
            403,
            "{target}"
        );
    }
    let upgrade = format!(
        "GET / HTTP/1.1\r\nHost: {LEDGER}:{port}\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    );
    let mut connection = front::connect(proxy.port, Some(&agent)).unwrap();
    assert_eq!(tunnel::ask_raw(&mut connection, &upgrade).unwrap(), 403);
    let server = fs::read(proxy.front.file("server.cert")).unwrap();
    let destination = format!("{LEDGER}:{port}");
    for protocol in ["websocket", "connect-udp"] {
        let answer = tunnel::ask_http2(
            proxy.port,
            &agent,
            &server,
            &destination,
            Some(protocol),
            b"",
        );
        match answer {
            Ok((status, _)) => assert!((400..500).contains(&status), "{protocol}: {status}"),
            Err(error) => assert_ne!(error.kind(), std::io::ErrorKind::TimedOut, "{protocol}"),
        }
    }
    assert_eq!(echo.requests(), 0);
    // And a destination has a port.
    for (destination, answer) in [("", 400), (":", 400), (":0", 404), (":65536", 400)] {
        let destination = format!("{LEDGER}{destination}");
        assert_eq!(proxy.http1(&agent, &destination), answer, "{destination}");
        let (status, _) = proxy.http2(&agent, &destination, b"");
        assert!(matches!(status, 403 | 404), "{destination}: {status}");
    }
}

const INWARD: [&str; 18] = [
    "127.0.0.1",
    "127.1",
    "127.255.255.254",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "0.0.0.0",
    "0",
    "2130706433",
    "0x7f000001",
    "0177.0.0.1",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "loopback.test",
    "zero.test",
];

/// Policies allow names; no name leads inward, whatever it resolves to.
#[test]
fn no_name_leads_to_the_admin_interface() {
    // The ledger may be inside, on a port that is not the admin interface's.
    let example = Example::new(REJECT).any_host().ledger(9);
    let proxy = example.start();
    let agent = proxy.client(CLIENT);
    let admin = proxy.envoy.admin_address().port();
    let before = proxy.admin_requests();
    let own = own_address();
    let hosts = INWARD
        .into_iter()
        .chain(["two.test", "two-reversed.test", LEDGER])
        .chain(own.as_deref());
    for host in hosts {
        let destination = format!("{host}:{admin}");
        // More than once: of several addresses each is tried first at some time.
        for _ in 0..2 {
            // 503 is a name that is not known, or an address where nobody answers.
            let status = proxy.http1(&agent, &destination);
            assert!(matches!(status, 403 | 503), "{host}: {status}");
            let request = b"GET /ready HTTP/1.1\r\nHost: admin\r\n\r\n";
            let (status, back) = proxy.http2(&agent, &destination, request);
            assert!(matches!(status, 403 | 503), "{host}: {status}");
            assert_eq!(back, b"", "{host}");
        }
    }
    for host in ["127.0.0.1", "localhost", "[::1]", "loopback.test"] {
        assert_eq!(
            proxy.http1(&agent, &format!("{host}:{admin}")),
            403,
            "{host}"
        );
    }
    for host in [
        "metadata.test",
        "169.254.169.254",
        "[fd00:ec2::254]",
        "[fe80::1]",
    ] {
        assert_eq!(proxy.http1(&agent, &format!("{host}:80")), 403, "{host}");
    }
    // The question before was one.
    assert_eq!(proxy.admin_requests(), before + 1);
    proxy.wait_for_log("rbac_access_denied");
}

/// What the above is worth: the same without the filter that looks at addresses.
#[test]
fn without_the_address_filter_the_admin_interface_is_reached() {
    let mut example = Example::new(REJECT).any_host();
    let filters = format!("{MANAGER}/http_filters/2/typed_config/upstream_http_filters");
    example.at(&filters).as_array_mut().unwrap().remove(0);
    let proxy = example.start();
    let agent = proxy.client(CLIENT);
    let admin = proxy.envoy.admin_address().port();
    let request = b"GET /ready HTTP/1.1\r\nHost: admin\r\n\r\n";
    for host in ["127.0.0.1", "localhost", "loopback.test"] {
        let (status, back) = proxy.http2(&agent, &format!("{host}:{admin}"), request);
        assert_eq!(status, 200, "{host}");
        assert!(back.starts_with(b"HTTP/1.1 200"), "{host}");
    }
}

/// Why the example has sub-clusters: with a DNS cache a destination is one host with all addresses
/// of its name. RBAC sees the first, Envoy connects to whichever answers.
#[test]
fn with_a_dns_cache_a_name_of_two_addresses_passes_the_address_filter() {
    let mut example = Example::new(REJECT).any_host();
    let resolver = example.at(CLUSTER)["typed_dns_resolver_config"].clone();
    let cache = json!({
        "name": "cache",
        "dns_lookup_family": "V4_PREFERRED",
        "typed_dns_resolver_config": resolver,
    });
    let of = |kind: &str, more: Value| {
        let mut config = json!({ "@type": format!("type.googleapis.com/envoy.extensions.{kind}") });
        config["dns_cache_config"] = cache.clone();
        for (field, value) in more.as_object().unwrap() {
            config[field] = value.clone();
        }
        config
    };
    *example.at(&format!("{MANAGER}/http_filters/1/typed_config")) = of(
        "filters.http.dynamic_forward_proxy.v3.FilterConfig",
        json!({ "save_upstream_address": true }),
    );
    let cluster = example.at(CLUSTER).as_object_mut().unwrap();
    for field in ["dns_lookup_family", "typed_dns_resolver_config"] {
        cluster.remove(field);
    }
    cluster["cluster_type"]["typed_config"] =
        of("clusters.dynamic_forward_proxy.v3.ClusterConfig", json!({}));
    // The same rules before the router as well: neither place helps.
    let rules = example.at(&rules()).clone();
    let before_router = json!({
        "name": "envoy.filters.http.rbac",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.filters.http.rbac.v3.RBAC",
            "rules": rules,
        },
    });
    let filters = example.at(&format!("{MANAGER}/http_filters"));
    filters.as_array_mut().unwrap().insert(2, before_router);
    let proxy = example.start();
    let agent = proxy.client(CLIENT);
    let admin = proxy.envoy.admin_address().port();
    let request = b"GET /ready HTTP/1.1\r\nHost: admin\r\n\r\n";
    assert_eq!(proxy.http1(&agent, &format!("loopback.test:{admin}")), 403);
    let (status, back) = proxy.http2(&agent, &format!("two.test:{admin}"), request);
    assert_eq!(status, 200);
    assert!(back.starts_with(b"HTTP/1.1 200"), "{back:?}");
}

#[test]
fn a_tunnel_ends_after_the_duration_that_is_set() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let echoing = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut chunk = [0; 64];
        while let Ok(read @ 1..) = stream.read(&mut chunk) {
            if stream.write_all(&chunk[..read]).is_err() {
                break;
            }
        }
    });
    let mut example = Example::new(REJECT).ledger(port);
    example.replace(
        &format!("{MANAGER}/common_http_protocol_options/max_stream_duration"),
        &json!("3600s"),
        json!("2s"),
    );
    // A destination's cluster is forgotten in the meantime; that alone ends no tunnel.
    example.replace(
        &format!("{CLUSTER}/cluster_type/typed_config/sub_clusters_config/sub_cluster_ttl"),
        &json!("300s"),
        json!("1s"),
    );
    let proxy = example.start();
    let mut tunnel = front::connect(proxy.port, Some(&proxy.client(CLIENT))).unwrap();
    let since = Instant::now();
    let status = tunnel::ask(&mut tunnel, &format!("{LEDGER}:{port}")).unwrap();
    assert_eq!(status, 200, "{}", proxy.envoy.log());
    let mut echoed = 0;
    while since.elapsed() < Duration::from_secs(8) {
        if tunnel.send_raw(b"x").is_err() || tunnel.read_raw(1).unwrap().is_empty() {
            break;
        }
        echoed += 1;
        std::thread::sleep(Duration::from_millis(50));
    }
    let lasted = since.elapsed();
    assert!(
        (Duration::from_millis(1800)..Duration::from_secs(6)).contains(&lasted),
        "{lasted:?}"
    );
    assert!(echoed > 10, "{echoed}");
    drop(tunnel);
    echoing.join().unwrap();
}

/// The commands of the page beside the example, with the proxy's and the site's port replaced.
#[test]
fn the_commands_of_the_page_work() {
    let page = testdata().join("../examples/secure-web-proxy/README.md");
    let page = fs::read_to_string(page).unwrap();
    let mut commands = page.split("```sh\n").skip(1).map(|behind| {
        let (command, _) = behind.split_once("```").unwrap();
        command.to_owned()
    });
    let (certificates, get) = (commands.next().unwrap(), commands.next().unwrap());
    assert_eq!(commands.next(), None);

    let echo = Echo::start().unwrap();
    let (_files, site) = site(&echo);
    let mut example = Example::new(REJECT).ledger(site.port());
    let folder = example.front.file("");
    let sh = |script: &str| {
        let output = Command::new("/bin/sh")
            .args(["-ec", script])
            .current_dir(&folder)
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{script}\n{said}");
        String::from_utf8(output.stdout).unwrap()
    };
    sh(&certificates);
    let root = fs::read_to_string(folder.join("root.cert")).unwrap();
    *example.at(&format!("{ANCHOR}/pemCertificate")) = json!(root);
    let proxy = example.start();
    let get = [
        (
            "https://localhost:8443",
            format!("https://localhost:{}", proxy.port),
        ),
        (
            "https://www.example.com/",
            format!("https://{LEDGER}:{}/", site.port()),
        ),
        // The site's own certificate is nobody's concern here.
        (
            "curl ",
            "curl --disable --noproxy '' --max-time 15 --insecure --silent ".to_owned(),
        ),
    ]
    .into_iter()
    .fold(get, |get, (was, by)| {
        assert!(get.contains(was), "{was}");
        get.replace(was, &by)
    });
    let reply = EchoReply::parse(sh(&get).as_bytes()).unwrap();
    assert_eq!(reply.path, "/");
}
