//! What a request carries: the query of its URL and its body.

use super::Request;
use crate::text;
use serde_json::Value;
use std::fmt::{Display, Write as _};

impl Request {
    /// `PUT`.
    ///
    /// ```
    /// # use pulse_plugin_sdk::http::Request;
    /// assert_eq!(Request::put("https://shop.example/").method, "PUT");
    /// ```
    pub fn put(url: impl Into<String>) -> Self {
        Self::new("PUT", url)
    }

    /// `PATCH`.
    ///
    /// ```
    /// # use pulse_plugin_sdk::http::Request;
    /// assert_eq!(Request::patch("https://shop.example/").method, "PATCH");
    /// ```
    pub fn patch(url: impl Into<String>) -> Self {
        Self::new("PATCH", url)
    }

    /// `DELETE`.
    ///
    /// ```
    /// # use pulse_plugin_sdk::http::Request;
    /// assert_eq!(Request::delete("https://shop.example/").method, "DELETE");
    /// ```
    pub fn delete(url: impl Into<String>) -> Self {
        Self::new("DELETE", url)
    }

    /// `HEAD`.
    ///
    /// ```
    /// # use pulse_plugin_sdk::http::Request;
    /// assert_eq!(Request::head("https://shop.example/").method, "HEAD");
    /// ```
    pub fn head(url: impl Into<String>) -> Self {
        Self::new("HEAD", url)
    }

    /// Adds parameters to the URL's query, percent-encoded, before its fragment and after what stands there.
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    ///
    /// let request = Request::get("https://shop.example/find?lang=en#top")
    ///     .query([("q", "tea & more")])
    ///     .query([("page", 2)]);
    /// assert_eq!(request.url, "https://shop.example/find?lang=en&q=tea%20%26%20more&page=2#top");
    /// ```
    #[must_use]
    pub fn query<N: AsRef<str>, V: Display>(mut self, parameters: impl IntoIterator<Item = (N, V)>) -> Self {
        let fragment = self
            .url
            .find('#')
            .map(|at| self.url.split_off(at))
            .unwrap_or_default();
        let pairs = pairs(parameters);
        if !pairs.is_empty() {
            let joined = match self.url.find('?') {
                None => "?",
                Some(at) if at + 1 == self.url.len() || self.url.ends_with('&') => "",
                Some(_) => "&",
            };
            self.url.push_str(joined);
            self.url.push_str(&pairs);
        }
        self.url.push_str(&fragment);
        self
    }

    /// Sends JSON, as `application/json`, unless there is another `content-type`. What is no `Value` becomes one with
    /// `serde_json::to_value`.
    ///
    /// ```
    /// use pulse_plugin_sdk::{http::Request, serde_json::json};
    ///
    /// let request = Request::post("https://chat.example/hook").json(&json!({"text": "shop is down"}));
    /// assert_eq!(request.body.unwrap(), br#"{"text":"shop is down"}"#);
    /// assert_eq!(request.headers[0].value, "application/json");
    /// ```
    #[must_use]
    pub fn json(self, body: &Value) -> Self {
        self.default_header("content-type", "application/json")
            .body(body.to_string())
    }

    /// Sends a form, as `application/x-www-form-urlencoded`, unless there is another `content-type`.
    ///
    /// ```
    /// use pulse_plugin_sdk::http::Request;
    ///
    /// let request = Request::post("https://shop.example/login").form([("user", "probe"), ("password", "a+b")]);
    /// assert_eq!(request.body.unwrap(), b"user=probe&password=a%2Bb");
    /// ```
    #[must_use]
    pub fn form<N: AsRef<str>, V: Display>(self, fields: impl IntoIterator<Item = (N, V)>) -> Self {
        self.default_header("content-type", "application/x-www-form-urlencoded")
            .body(pairs(fields))
    }
}

fn pairs<N: AsRef<str>, V: Display>(parameters: impl IntoIterator<Item = (N, V)>) -> String {
    let mut pairs = String::new();
    for (name, value) in parameters {
        let joined = if pairs.is_empty() { "" } else { "&" };
        let (name, value) = (
            text::percent_encode(name.as_ref()),
            text::percent_encode(&value.to_string()),
        );
        // Writing into a string can't fail.
        let _ = write!(pairs, "{joined}{name}={value}");
    }
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(from: &str, parameters: &[(&str, &str)]) -> String {
        Request::get(from).query(parameters.iter().copied()).url
    }

    #[test]
    fn a_query_is_joined_to_what_there_is() {
        assert_eq!(url("http://a", &[("b", "c"), ("d", "")]), "http://a?b=c&d=");
        assert_eq!(url("http://a/?", &[("b", "c")]), "http://a/?b=c");
        assert_eq!(url("http://a/?x&", &[("b", "c")]), "http://a/?x&b=c");
        assert_eq!(url("http://a/?x", &[("b", "c")]), "http://a/?x&b=c");
        assert_eq!(url("http://a/#f?g", &[("b", "=#")]), "http://a/?b=%3D%23#f?g");
        assert_eq!(url("http://a/#f", &[]), "http://a/#f");
    }

    #[test]
    fn an_own_content_type_stays() {
        let request = Request::post("http://a")
            .header("Content-Type", "application/ld+json")
            .json(&Value::Null);
        assert_eq!(request.headers.len(), 1);
        assert_eq!(request.body.unwrap(), b"null");
    }
}
