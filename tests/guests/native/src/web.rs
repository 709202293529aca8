//! What goes through `wasi:http`, as a language's own client does it.

use crate::{Deed, Settings};
use wasip2::{
    clocks::monotonic_clock,
    http::{
        outgoing_handler::handle,
        types::{
            Fields, FutureIncomingResponse, IncomingBody, IncomingResponse, Method, OutgoingBody,
            OutgoingRequest, RequestOptions, Scheme,
        },
    },
    io::{poll::poll, streams::StreamError},
};

pub fn perform(settings: &Settings) -> Result<String, String> {
    let fields = Fields::new();
    for (name, value) in &settings.fields {
        fields
            .append(name, value.as_bytes())
            .map_err(|error| format!("field {name}: {error:?}"))?;
    }
    let request = OutgoingRequest::new(fields);
    let set = |what: &str, result: Result<(), ()>| result.map_err(|()| format!("{what} was refused"));
    let method = if settings.deed == Deed::Post {
        Method::Post
    } else {
        Method::Get
    };
    set("method", request.set_method(&method))?;
    let scheme = match settings.scheme.as_deref() {
        Some("https") => Scheme::Https,
        None | Some("http") => Scheme::Http,
        Some(other) => Scheme::Other(other.to_owned()),
    };
    set("scheme", request.set_scheme(Some(&scheme)))?;
    set("authority", request.set_authority(settings.authority.as_deref()))?;
    set("path", request.set_path_with_query(settings.path.as_deref()))?;
    let body = match settings.deed {
        Deed::Post => Some(request.body().map_err(|()| "no body".to_owned())?),
        _ => None,
    };
    let options = settings.first_byte_ms.map(|ms| {
        let options = RequestOptions::new();
        let _ = options.set_first_byte_timeout(Some(ms * 1_000_000));
        options
    });
    let answer = handle(request, options).map_err(|code| format!("{code:?}"))?;
    if let Some(body) = body {
        upload(body, settings)?;
    }
    if settings.deed == Deed::GetImpatient {
        let timer = monotonic_clock::subscribe_duration(settings.ms.unwrap_or(0) * 1_000_000);
        let ready = answer.subscribe();
        if !poll(&[&ready, &timer]).contains(&0) {
            return Err("no answer in time".into());
        }
    }
    if settings.deed == Deed::GetLater {
        std::thread::sleep(std::time::Duration::from_millis(settings.ms.unwrap_or(0)));
    }
    let response = wait(&answer)?;
    let status = response.status();
    if settings.deed == Deed::GetHead {
        return Ok(format!("{status}"));
    }
    let (length, text) = download(&response)?;
    Ok(format!("{status} {length} {text}"))
}

fn upload(body: OutgoingBody, settings: &Settings) -> Result<(), String> {
    let stream = body.write().map_err(|()| "no stream".to_owned())?;
    let chunk = settings.say.clone().unwrap_or_default();
    for _ in 0..settings.count.unwrap_or(1) {
        stream
            .blocking_write_and_flush(chunk.as_bytes())
            .map_err(|error| match error {
                StreamError::LastOperationFailed(error) => {
                    format!("upload: {:?}", wasip2::http::types::http_error_code(&error))
                }
                StreamError::Closed => "upload: closed".to_owned(),
            })?;
    }
    drop(stream);
    OutgoingBody::finish(body, None).map_err(|code| format!("{code:?}"))
}

fn wait(answer: &FutureIncomingResponse) -> Result<IncomingResponse, String> {
    loop {
        match answer.get() {
            Some(Ok(result)) => return result.map_err(|code| format!("{code:?}")),
            Some(Err(())) => return Err("taken twice".into()),
            None => answer.subscribe().block(),
        }
    }
}

/// Length of the body, and its beginning.
fn download(response: &IncomingResponse) -> Result<(usize, String), String> {
    let body = response.consume().map_err(|()| "no body".to_owned())?;
    let stream = body.stream().map_err(|()| "no stream".to_owned())?;
    let (mut length, mut text) = (0, Vec::new());
    loop {
        match stream.blocking_read(16 << 10) {
            Ok(chunk) => {
                length += chunk.len();
                text.extend(chunk.iter().take(40_usize.saturating_sub(text.len())));
            }
            Err(StreamError::Closed) => break,
            Err(StreamError::LastOperationFailed(error)) => {
                let code = wasip2::http::types::http_error_code(&error);
                return Err(format!("after {length} bytes: {code:?}"));
            }
        }
    }
    drop(stream);
    let trailers = IncomingBody::finish(body);
    while trailers.get().is_none() {
        trailers.subscribe().block();
    }
    Ok((length, String::from_utf8_lossy(&text).into_owned()))
}
