#include "viewer/server.h"

#include <arpa/inet.h>
#include <httplib.h>
#include <sys/random.h>

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/hash.h"

namespace vtissue::viewer {
namespace {

constexpr const char* kCookie = "vtissue_token";
/// A browser opens six connections; each is a thread while it is kept alive.
constexpr std::size_t kThreads = 64;
constexpr std::size_t kRequestsAConnection = 1'000'000;
constexpr time_t kIdleSeconds = 5;

constexpr const char* kPolicy =
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

std::string without_port(const std::string& host) {
  if (host.starts_with('[')) return host.substr(0, host.find(']') + 1);
  return host.substr(0, host.find(':'));
}

bool is_ipv4(const std::string& name) {
  in_addr address{};
  return ::inet_pton(AF_INET, name.c_str(), &address) == 1;
}

bool is_ipv6(const std::string& name) {
  in6_addr address{};
  return ::inet_pton(AF_INET6, name.c_str(), &address) == 1;
}

std::string unbracketed(const std::string& name) {
  return name.starts_with('[') && name.ends_with(']') ? name.substr(1, name.size() - 2) : name;
}

/// In a time that does not tell how much of it is right.
bool is_same_secret(const std::string& given, const std::string& expected) {
  unsigned difference = given.size() == expected.size() ? 0 : 1;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const char other = i < given.size() ? given[i] : '\0';
    difference |= static_cast<unsigned char>(other ^ expected[i]);
  }
  return difference == 0;
}

std::string cookie_of(const httplib::Request& request) {
  const std::string cookies = request.get_header_value("Cookie");
  const std::string name = std::string(kCookie) + "=";
  for (std::size_t i = 0; i < cookies.size();) {
    const std::size_t end = std::min(cookies.find(';', i), cookies.size());
    std::size_t start = i;
    while (start < end && cookies[start] == ' ') ++start;
    if (cookies.compare(start, name.size(), name) == 0)
      return cookies.substr(start + name.size(), end - start - name.size());
    i = end + 1;
  }
  return {};
}

bool names_version(const httplib::Request& request, const std::string& etag) {
  const std::string given = request.get_header_value("If-None-Match");
  return given.find(etag) != std::string::npos;
}

}  // namespace

struct Server::Http {
  httplib::Server server;
  std::shared_ptr<Content> content;
};

bool is_loopback(const std::string& address) {
  return address == "localhost" || address == "::1" || (is_ipv4(address) && address.starts_with("127."));
}

bool is_own_host(const std::string& host, const ServerOptions& options) {
  std::string name = unbracketed(without_port(host));
  std::ranges::transform(name, name.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c; });
  if (name.ends_with('.')) name.pop_back();
  if (is_loopback(name) || std::ranges::find(options.names, name) != options.names.end()) return true;
  return !is_loopback(options.address) && (is_ipv4(name) || is_ipv6(name));
}

std::string random_token() {
  std::array<unsigned char, 16> secret{};
  if (::getrandom(secret.data(), secret.size(), 0) != static_cast<ssize_t>(secret.size()))
    throw Error(ErrorCode::kDevice, "the system gives no random numbers for a token; pass --token");
  std::string token;
  for (const unsigned char byte : secret) token += fmt::format("{:02x}", byte);
  return token;
}

Server::Server(std::shared_ptr<Content> content, const ServerOptions& options)
    : http_(std::make_unique<Http>()), options_(options) {
  if (!is_ipv4(options.address) && !is_ipv6(options.address))
    throw Error(ErrorCode::kUsage, "{}: not an IP address to listen at (127.0.0.1: this machine alone; 0.0.0.0: all)",
                options.address);
  if (!is_loopback(options.address) && options.token.empty())
    throw Error(ErrorCode::kUsage, "{}: others can reach this address, so a token is needed", options.address);
  http_->content = std::move(content);
  httplib::Server& server = http_->server;
  server.new_task_queue = [] { return new httplib::ThreadPool(kThreads); };
  server.set_keep_alive_max_count(kRequestsAConnection);
  server.set_keep_alive_timeout(kIdleSeconds);
  server.set_tcp_nodelay(true);
  server.set_payload_max_length(1024);
  server.set_default_headers({{"Content-Security-Policy", kPolicy},
                              {"X-Content-Type-Options", "nosniff"},
                              {"Referrer-Policy", "no-referrer"},
                              {"Cross-Origin-Resource-Policy", "same-origin"},
                              {"Cross-Origin-Opener-Policy", "same-origin"}});
  const auto refuse = [](httplib::Response& response, int status, const char* message) {
    response.status = status;
    response.set_header("Cache-Control", "no-store");
    // What came with the request is not read: the connection cannot go on.
    response.set_header("Connection", "close");
    response.set_content(message, "text/plain; charset=utf-8");
    return httplib::Server::HandlerResponse::Handled;
  };
  server.set_pre_routing_handler([this, refuse](const httplib::Request& request, httplib::Response& response) {
    if (!is_own_host(request.get_header_value("Host"), options_))
      return refuse(response, 421, "This server goes by another name.\n");
    if (request.method != "GET" && request.method != "HEAD") {
      response.set_header("Allow", "GET, HEAD");
      return refuse(response, 405, "Only GET and HEAD.\n");
    }
    if (request.has_header("Content-Length") && request.get_header_value("Content-Length") != "0")
      return refuse(response, 413, "A request has no body here.\n");
    if (options_.token.empty()) return httplib::Server::HandlerResponse::Unhandled;
    if (is_same_secret(cookie_of(request), options_.token)) return httplib::Server::HandlerResponse::Unhandled;
    if (request.has_param("token") && is_same_secret(request.get_param_value("token"), options_.token)) {
      response.set_header("Set-Cookie",
                          std::string(kCookie) + "=" + options_.token + "; Path=/; HttpOnly; SameSite=Strict");
      response.set_header("Cache-Control", "no-store");
      response.set_redirect("./", 303);  // the token does not stay in the address line
      return httplib::Server::HandlerResponse::Handled;
    }
    return refuse(response, 401, "Open the address that 'vtissue view' printed: it has the token.\n");
  });
  server.Get(".*", [this](const httplib::Request& request, httplib::Response& response) {
    std::string_view path = request.path;
    if (path.starts_with('/')) path.remove_prefix(1);
    const Response found = http_->content->get(path);
    response.status = found.status;
    if (found.status != 200) {
      response.set_header("Cache-Control", "no-store");
      response.set_content(*found.body, found.type);
      return;
    }
    const std::string etag = fmt::format("\"{:016x}\"", checksum64(std::as_bytes(std::span(*found.body))));
    response.set_header("ETag", etag);
    response.set_header("Cache-Control", found.versioned && request.has_param("v")
                                             ? "private, max-age=31536000, immutable"
                                             : "private, no-cache");
    if (names_version(request, etag)) {
      response.status = 304;
      return;
    }
    response.set_content(*found.body, found.type);
  });
  port_ = options.port == 0 ? server.bind_to_any_port(options.address)
                            : (server.bind_to_port(options.address, options.port) ? options.port : -1);
  if (port_ <= 0)
    throw Error(ErrorCode::kOutput, "{} port {}: cannot be listened at; another program may have it: choose --port",
                options.address, options.port);
}

Server::~Server() { stop(); }

std::string Server::url() const {
  std::string host = options_.address;
  if (host == "0.0.0.0") host = "127.0.0.1";
  if (host == "::") host = "::1";
  if (is_ipv6(host)) host = "[" + host + "]";
  std::string url = fmt::format("http://{}:{}/", host, port_);
  if (!options_.token.empty()) url += "?token=" + options_.token;
  return url;
}

void Server::run() { http_->server.listen_after_bind(); }

void Server::stop() { http_->server.stop(); }

}  // namespace vtissue::viewer
