//! The connection to the operators' API.

use std::time::Duration;

use reqwest::{RequestBuilder, StatusCode, Url};
use serde_json::Value;

use crate::cli::operators::Server;
use crate::exit::{Code, Failure, with_causes};

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
        let base = Url::parse(&server.operators_url)
            .ok()
            .filter(|url| !url.cannot_be_a_base())
            .ok_or_else(|| {
                Failure::new(
                    Code::Configuration,
                    "--operators-url can't be read: give one such as http://127.0.0.1:8081",
                )
            })?;
        let http = reqwest::Client::builder()
            .timeout(TIMEOUT)
            .no_proxy()
            .build()
            .map_err(|error| Failure::internal("setting up the HTTP client", &error))?;
        Ok(Self { http, base })
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
