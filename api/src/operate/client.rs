//! The connection to the operators' API.

use std::fs;
use std::io;
use std::net::IpAddr;
use std::time::Duration;

use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{RequestBuilder, StatusCode, Url};
use serde_json::Value;

use crate::cli::operators::Server;
use crate::exit::{Code, Failure, with_causes};
use crate::wiring::operator_token_path;

/// Longer than any wait that an order may ask for.
const TIMEOUT: Duration = Duration::from_secs(45);

/// A server, by its address.
pub struct Client {
    http: reqwest::Client,
    base: Url,
}

/// What it said.
pub struct Answer {
    /// Which success it was.
    pub status: StatusCode,
    /// The body.
    pub body: Value,
}

impl Client {
    /// A client for this address.
    pub fn new(server: &Server) -> Result<Self, Failure> {
        let base = address(&server.operators_url)?;
        let token = token(server, &base)?;
        Self::with(base, HeaderMap::from_iter([(AUTHORIZATION, token)]))
    }

    /// A client that says nothing about who it is.
    pub fn of_nobody(operators_url: &str) -> Result<Self, Failure> {
        Self::with(address(operators_url)?, HeaderMap::new())
    }

    fn with(base: Url, headers: HeaderMap) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .default_headers(headers)
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| Failure::internal("setting up the HTTP client", &error))?;
        Ok(Self { http, base })
    }

    /// `GET /readyz`.
    pub async fn ready(&self) -> Result<Answer, Failure> {
        let mut url = self.base.clone();
        url.set_path("readyz");
        self.call(self.http.get(url)).await
    }

    /// `GET /v1/<path>?<query>`.
    pub async fn get(&self, path: &[&str], query: &[(&str, String)]) -> Result<Answer, Failure> {
        self.call(self.http.get(self.url(path)?).query(query)).await
    }

    /// `POST /v1/<path>`, to be filled in and called.
    pub fn post(&self, path: &[&str]) -> Result<RequestBuilder, Failure> {
        Ok(self.http.post(self.url(path)?))
    }

    fn url(&self, path: &[&str]) -> Result<Url, Failure> {
        let mut url = self.base.clone();
        url.path_segments_mut()
            .map_err(|()| Failure::new(Code::Configuration, "--operators-url can't have a path"))?
            .pop_if_empty()
            .push("v1")
            .extend(path);
        Ok(url)
    }

    /// Sends, and makes a failure of everything that is no success.
    pub async fn call(&self, request: RequestBuilder) -> Result<Answer, Failure> {
        let unreachable = |error: reqwest::Error| {
            let why = with_causes(&error.without_url());
            let hint = "start `holdfast serve`, or give its operators' address by --operators-url";
            Failure::new(
                Code::Server,
                format!("{} can't be asked: {why}; {hint}", self.base),
            )
        };
        let response = request.send().await.map_err(unreachable)?;
        let status = response.status();
        let body: Value = response.json().await.map_err(unreachable)?;
        if status.is_success() {
            return Ok(Answer { status, body });
        }
        let code = if status.is_server_error() {
            Code::Server
        } else {
            Code::Refused
        };
        let sentence = match body["detail"].as_str() {
            Some(detail) if !detail.is_empty() => detail.to_owned(),
            _ => format!("the server answered {status}"),
        };
        Err(Failure::new(code, sentence))
    }
}

fn address(operators_url: &str) -> Result<Url, Failure> {
    let url = Url::parse(operators_url).ok();
    url.filter(|url| !url.cannot_be_a_base()).ok_or_else(|| {
        let why = "--operators-url can't be read: give one such as http://127.0.0.1:8081";
        Failure::new(Code::Configuration, why)
    })
}

/// The header with the token that was given, or with the one that a server on this machine has written for us. What lies in a
/// folder here is never sent elsewhere.
fn token(server: &Server, base: &Url) -> Result<HeaderValue, Failure> {
    let configuration = |sentence: String| Failure::new(Code::Configuration, sentence);
    let given = server.operator_token.as_ref();
    let given = given.map(|token| token.expose().trim().to_owned());
    let path = operator_token_path(&server.data_dir);
    let token = match given.filter(|token| !token.is_empty()) {
        Some(token) => token,
        None if !is_here(base) => return Err(configuration(how_to_get_one(base))),
        None => match fs::read_to_string(&path) {
            Ok(token) => token.trim().to_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(configuration(how_to_get_one(base)));
            }
            Err(error) => {
                let why = format!(
                    "the operators' token {} can't be read: {error}",
                    path.display()
                );
                return Err(configuration(why));
            }
        },
    };
    let mut value = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| {
        configuration("the operator's token is not one: it has line ends or the like".into())
    })?;
    value.set_sensitive(true);
    Ok(value)
}

fn how_to_get_one(base: &Url) -> String {
    format!(
        "{base} wants an operator's token: set HOLDFAST_OPERATOR_TOKEN to what `holdfast token --role operator --subject NAME` \
         prints where the key is, or name the data directory of an embedded server on this machine by --data-dir"
    )
}

/// The address is this machine's own.
fn is_here(base: &Url) -> bool {
    let host = base.host_str().unwrap_or_default();
    let address = host.trim_start_matches('[').trim_end_matches(']');
    host == "localhost"
        || address
            .parse()
            .is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::Output;

    fn server(url: &str, token: Option<&str>, folder: &std::path::Path) -> Server {
        Server {
            operators_url: url.to_owned(),
            operator_token: token.map(|token| token.parse().unwrap()),
            data_dir: folder.to_owned(),
            output: Output::Text,
        }
    }

    #[test]
    fn the_token_of_a_folder_here_is_not_sent_elsewhere() {
        let folder = tempfile::tempdir().unwrap();
        let header = |url: &str, token: Option<&str>| {
            token_for(&server(url, token, folder.path())).map_err(|failure| failure.sentence)
        };
        let missing = header("http://127.0.0.1:1", None).unwrap_err();
        assert!(missing.contains("HOLDFAST_OPERATOR_TOKEN"), "{missing}");
        fs::write(operator_token_path(folder.path()), "kept").unwrap();
        for here in ["http://127.0.0.1:1", "http://[::1]:1", "http://localhost:1"] {
            assert_eq!(header(here, None).unwrap(), "Bearer kept", "{here}");
        }
        for elsewhere in ["http://10.0.0.1:1", "http://localhost.example:1"] {
            assert!(header(elsewhere, None).is_err(), "{elsewhere}");
            assert_eq!(header(elsewhere, Some("given\n")).unwrap(), "Bearer given");
        }
    }

    #[test]
    fn a_token_is_never_shown() {
        let folder = tempfile::tempdir().unwrap();
        let header = token_for(&server("http://127.0.0.1:1", Some("sesame"), folder.path()));
        assert!(!format!("{header:?}").contains("sesame"));
        let failure = token_for(&server(
            "http://127.0.0.1:1",
            Some("ses\name"),
            folder.path(),
        ));
        assert!(!format!("{failure:?}").contains("ses"), "{failure:?}");
    }

    fn token_for(server: &Server) -> Result<HeaderValue, Failure> {
        token(server, &Url::parse(&server.operators_url).unwrap())
    }
}
