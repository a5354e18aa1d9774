#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "viewer/content.h"

namespace vtissue::viewer {

struct ServerOptions {
  std::string address = "127.0.0.1";  ///< what to bind to: an IP address
  int port = 0;                       ///< 0: any that is free
  std::string token;               ///< asked of every visitor; must not be empty unless the address is a loopback one
  std::vector<std::string> names;  ///< further names that visitors may call this host by
};

/// Serves a Content over HTTP to browsers. Only GET and HEAD. A request must call the host by an IP address, localhost
/// or one of options.names (a page of another site that has its name lead here is refused: DNS rebinding), and by a
/// loopback name if it is bound to one. With a token, it comes once in the URL (?token=…) and then as a cookie that
/// other sites cannot use. Every answer forbids to run or load anything that is not of this server. Versioned content
/// may be kept for ever by the browser, the rest is asked for again by its ETag.
class Server {
 public:
  /// Binds, so that visitors may come from now on. Throws Error kUsage for an address or token that will not do,
  /// kOutput if the port cannot be had.
  Server(std::shared_ptr<Content> content, const ServerOptions& options);
  ~Server();
  Server(const Server&) = delete;
  Server& operator=(const Server&) = delete;

  int port() const { return port_; }
  /// What to open: with the token, if there is one.
  std::string url() const;

  /// Answers until stop().
  void run();
  /// From any thread; run() returns.
  void stop();

 private:
  struct Http;
  std::unique_ptr<Http> http_;
  ServerOptions options_;
  int port_ = 0;
};

bool is_loopback(const std::string& address);

/// Whether a Host header names this server as options allow.
bool is_own_host(const std::string& host, const ServerOptions& options);

/// 32 hexadecimal digits from the system's source of secrets. Throws Error kDevice.
std::string random_token();

}  // namespace vtissue::viewer
