//! A headless Chromium, driven through WebDriver (<https://www.w3.org/TR/webdriver2/>).

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use tempfile::TempDir;
use thiserror::Error;

use super::guard::Guarded;
use super::http1::{ResponseError, read_response};

const POLL: Duration = Duration::from_millis(20);
const READY_WITHIN: Duration = Duration::from_secs(30);
/// A page that does not get there by then never will.
const WAIT_WITHIN: Duration = Duration::from_secs(30);
/// WebDriver 12.1: how an element is written.
const ELEMENT: &str = "element-6066-11e4-a52e-4f735466cecf";
/// WebDriver 17.4.2
pub const TAB: &str = "\u{e004}";
/// The same.
pub const END: &str = "\u{e010}";
/// The same.
const CONTROL: &str = "\u{e009}";

/// Why the browser does not do what it should.
#[derive(Debug, Error)]
pub enum BrowserError {
    /// A file or process failed.
    #[error("{}: {source}", path.display())]
    File {
        /// Which.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// The driver did not start.
    #[error("chromedriver does not listen (`make tools` fetches it); it wrote:\n{log}")]
    NotReady {
        /// Its log.
        log: String,
    },
    /// The driver cannot be talked to.
    #[error("chromedriver: {0}")]
    Io(#[from] io::Error),
    /// The driver's answer cannot be read.
    #[error("chromedriver: {0}")]
    Response(#[from] ResponseError),
    /// A command failed.
    #[error("{command}: {what}")]
    Command {
        /// Which.
        command: String,
        /// The driver's message.
        what: String,
    },
    /// Something did not come about.
    #[error("not within {WAIT_WITHIN:?}: {script}")]
    Waited {
        /// What was waited for.
        script: String,
    },
}

/// A browser with one window; dropping it ends it.
#[derive(Debug)]
pub struct Browser {
    port: u16,
    session: String,
    // Before `dir`: fields are dropped in order.
    _driver: Guarded,
    _dir: TempDir,
}

/// Where `scripts/tools.sh browser` puts the programs.
#[must_use]
pub fn program(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../.tools/browser/bin")
        .join(name)
}

impl Browser {
    /// Starts one, with a window of this size in which pages prefer light colours.
    ///
    /// # Errors
    /// It does not start.
    pub fn start(width: u32, height: u32) -> Result<Self, BrowserError> {
        let file = |path: &Path| {
            let path = path.to_owned();
            |source| BrowserError::File { path, source }
        };
        let dir = tempfile::Builder::new()
            .prefix("mtls-gate-browser-")
            .tempdir()
            .map_err(file(&std::env::temp_dir()))?;
        let log_path = dir.path().join("chromedriver.log");
        let log = File::create(&log_path).map_err(file(&log_path))?;
        let binary = program("chromedriver");
        let mut command = Command::new(&binary);
        command.arg("--port=0");
        let mut driver = Guarded::start(&command, dir.path(), log).map_err(file(&binary))?;
        let since = Instant::now();
        let port = loop {
            let log = fs::read_to_string(&log_path).unwrap_or_default();
            if let Some(port) = port_in(&log) {
                break port;
            }
            let ended = driver.ended().map_err(file(&binary))?;
            if ended.is_some() || since.elapsed() > READY_WITHIN {
                return Err(BrowserError::NotReady { log });
            }
            std::thread::sleep(POLL);
        };
        let profile = dir.path().join("profile");
        let capabilities = json!({ "capabilities": { "alwaysMatch": {
            "browserName": "chrome-headless-shell",
            "goog:chromeOptions": {
                "binary": program("chromium"),
                "args": [
                    // It shows our own page only; containers and root have no sandbox to give.
                    "--no-sandbox",
                    "--disable-gpu",
                    "--disable-dev-shm-usage",
                    // The browser ends with its driver, however that ends.
                    "--remote-debugging-pipe",
                    format!("--window-size={width},{height}"),
                    format!("--user-data-dir={}", profile.display()),
                ],
            },
            "goog:loggingPrefs": { "browser": "ALL", "performance": "ALL" },
        } } });
        let mut browser = Self {
            port,
            session: String::new(),
            _driver: driver,
            _dir: dir,
        };
        let session = browser.send("POST", "/session", Some(capabilities))?;
        browser.session = text(&session, "/sessionId");
        Ok(browser)
    }

    /// Goes to a page.
    ///
    /// # Errors
    /// It cannot be loaded.
    pub fn open(&self, url: &str) -> Result<(), BrowserError> {
        self.post("/url", json!({ "url": url })).map(drop)
    }

    /// Runs a function's body in the page, with `arguments`; what it returns is waited for if it is a
    /// promise.
    ///
    /// # Errors
    /// It throws.
    pub fn run(&self, script: &str, arguments: Value) -> Result<Value, BrowserError> {
        self.post(
            "/execute/sync",
            json!({ "script": script, "args": arguments }),
        )
    }

    /// Runs an expression until it is true.
    ///
    /// # Errors
    /// It is not in time.
    pub fn wait_for(&self, expression: &str) -> Result<(), BrowserError> {
        let since = Instant::now();
        let script = format!("return Boolean({expression});");
        loop {
            if self.run(&script, json!([]))? == true {
                return Ok(());
            }
            if since.elapsed() > WAIT_WITHIN {
                return Err(BrowserError::Waited {
                    script: expression.to_owned(),
                });
            }
            std::thread::sleep(POLL);
        }
    }

    /// Clicks as a mouse would.
    ///
    /// # Errors
    /// There is no such element, or it cannot be clicked.
    pub fn click(&self, selector: &str) -> Result<(), BrowserError> {
        let element = self.find(selector)?;
        self.post(&format!("/element/{element}/click"), json!({}))
            .map(drop)
    }

    /// Puts the focus on an element.
    ///
    /// # Errors
    /// There is no such element.
    pub fn focus(&self, selector: &str) -> Result<(), BrowserError> {
        let script = "document.querySelector(arguments[0]).focus();";
        self.run(script, json!([selector])).map(drop)
    }

    /// Presses keys one after another, where the focus is; Control stays down.
    ///
    /// # Errors
    /// The driver refuses.
    pub fn press(&self, keys: &str) -> Result<(), BrowserError> {
        let mut actions = Vec::new();
        let mut held = Vec::new();
        for key in keys.chars().map(String::from) {
            actions.push(json!({ "type": "keyDown", "value": key }));
            let up = json!({ "type": "keyUp", "value": key });
            if key == CONTROL {
                held.push(up);
            } else {
                actions.push(up);
            }
        }
        actions.extend(held);
        let keyboard = json!({ "type": "key", "id": "keyboard", "actions": actions });
        self.post("/actions", json!({ "actions": [keyboard] }))
            .map(drop)
    }

    /// Pastes text into an element, in the place of what is there, through the clipboard.
    ///
    /// # Errors
    /// There is no such element, or the clipboard is not to be had.
    pub fn paste(&self, selector: &str, text: &str) -> Result<(), BrowserError> {
        self.run(
            "return navigator.clipboard.writeText(arguments[0]);",
            json!([text]),
        )?;
        self.focus(selector)?;
        self.press(&format!("{CONTROL}av"))
    }

    /// What was copied last.
    ///
    /// # Errors
    /// The clipboard is not to be had.
    pub fn clipboard(&self) -> Result<String, BrowserError> {
        let copied = self.run("return navigator.clipboard.readText();", json!([]))?;
        Ok(text(&copied, ""))
    }

    /// Calls a function of the DevTools protocol.
    ///
    /// # Errors
    /// It fails.
    pub fn devtools(&self, method: &str, parameters: Value) -> Result<Value, BrowserError> {
        self.post(
            "/goog/cdp/execute",
            json!({ "cmd": method, "params": parameters }),
        )
    }

    /// What the page wrote to its console, and what the browser did not let it do.
    ///
    /// # Errors
    /// The driver does not tell.
    pub fn console(&self) -> Result<Vec<String>, BrowserError> {
        let log = self.post("/se/log", json!({ "type": "browser" }))?;
        let entries = log.as_array().cloned().unwrap_or_default();
        Ok(entries
            .iter()
            .map(|entry| text(entry, "/message"))
            .collect())
    }

    /// The address of every request since the last call.
    ///
    /// # Errors
    /// The driver does not tell.
    pub fn requests(&self) -> Result<Vec<String>, BrowserError> {
        let log = self.post("/se/log", json!({ "type": "performance" }))?;
        let entries = log.as_array().cloned().unwrap_or_default();
        let url = |entry: &Value| {
            let message: Value = serde_json::from_str(&text(entry, "/message")).ok()?;
            let is_request = text(&message, "/message/method") == "Network.requestWillBeSent";
            is_request.then(|| text(&message, "/message/params/request/url"))
        };
        Ok(entries.iter().filter_map(url).collect())
    }

    /// A picture of the window, as PNG.
    ///
    /// # Errors
    /// The driver gives none.
    pub fn screenshot(&self) -> Result<Vec<u8>, BrowserError> {
        let picture = self.send("GET", &self.path("/screenshot"), None)?;
        STANDARD
            .decode(text(&picture, ""))
            .map_err(|error| BrowserError::Command {
                command: "screenshot".to_owned(),
                what: error.to_string(),
            })
    }

    fn find(&self, selector: &str) -> Result<String, BrowserError> {
        let wanted = json!({ "using": "css selector", "value": selector });
        let found = self.post("/element", wanted)?;
        Ok(text(&found, &format!("/{ELEMENT}")))
    }

    fn path(&self, command: &str) -> String {
        format!("/session/{}{command}", self.session)
    }

    fn post(&self, command: &str, body: Value) -> Result<Value, BrowserError> {
        self.send("POST", &self.path(command), Some(body))
    }

    fn send(&self, method: &str, path: &str, body: Option<Value>) -> Result<Value, BrowserError> {
        let body = body.map(|body| body.to_string()).unwrap_or_default();
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port))?;
        stream.set_read_timeout(Some(WAIT_WITHIN.saturating_mul(2)))?;
        write!(
            stream,
            "{method} {path} HTTP/1.1\r\nhost: 127.0.0.1:{}\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            self.port,
            body.len()
        )?;
        let response = read_response(&mut stream, &mut Vec::new(), false)?;
        let mut answer: Value = serde_json::from_slice(&response.body).unwrap_or_default();
        let value = answer.get_mut("value").map(Value::take).unwrap_or_default();
        if response.status == 200 {
            return Ok(value);
        }
        let what = match value.get("message") {
            Some(_) => text(&value, "/message"),
            None => response.text(),
        };
        Err(BrowserError::Command {
            command: format!("{method} {path}"),
            what,
        })
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        // Ends the browser; the driver itself is ended by its guard.
        let _ = self.send("DELETE", &self.path(""), None);
    }
}

fn port_in(log: &str) -> Option<u16> {
    let (_, behind) = log.split_once("started successfully on port ")?;
    behind.split_once('.')?.0.parse().ok()
}

/// The string at a JSON pointer, or nothing.
fn text(value: &Value, pointer: &str) -> String {
    let found = value.pointer(pointer).and_then(Value::as_str);
    found.unwrap_or_default().to_owned()
}
