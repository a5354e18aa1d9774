#include "viewer/server.h"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <httplib.h>
#include <sys/socket.h>
#include <unistd.h>

#include <atomic>
#include <fstream>
#include <memory>
#include <thread>

#include "core/error.h"
#include "run_fixture.h"
#include "tests/support/temp_folder.h"

namespace vtissue::viewer {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using testing::TempFolder;

class ViewerServer : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    folder_ = new TempFolder;
    testing::make_run(*folder_ / "run", *folder_ / "slide.svs");
    fs::create_directories(*folder_ / "page");
    std::ofstream(*folder_ / "page/index.html") << "<!doctype html>";
    content_ = std::make_shared<Content>(ContentOptions{
        .root = *folder_ / "run", .page = *folder_ / "page", .search = {.slide = *folder_ / "slide.svs"}});
    tile_ = "/data/r/" + content_->runs().front().id + "/virtual/0/0_0.jpg";
  }
  static void TearDownTestSuite() {
    content_.reset();
    delete folder_;
    folder_ = nullptr;
  }

  void start(const ServerOptions& options = {}) {
    server_ = std::make_unique<Server>(content_, options);
    thread_ = std::thread([this] { server_->run(); });
    client_ = std::make_unique<httplib::Client>("127.0.0.1", server_->port());
    for (int i = 0; i < 200 && !client_->Get("/"); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  void TearDown() override {
    if (server_ == nullptr) return;
    server_->stop();
    thread_.join();
  }

  int status(const std::string& path, const httplib::Headers& headers = {}) {
    const auto result = client_->Get(path.c_str(), headers);
    return result ? result->status : -1;
  }

  /// What comes back for bytes that no client library would send.
  std::string raw(const std::string& request) {
    const int connection = ::socket(AF_INET, SOCK_STREAM, 0);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(static_cast<std::uint16_t>(server_->port()));
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    EXPECT_EQ(::connect(connection, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
    for (std::size_t sent = 0; sent < request.size();) {
      const ssize_t n = ::send(connection, request.data() + sent, request.size() - sent, MSG_NOSIGNAL);
      if (n <= 0) break;
      sent += static_cast<std::size_t>(n);
    }
    std::string answer(12, '\0');
    std::size_t got = 0;
    while (got < answer.size()) {
      const ssize_t n = ::recv(connection, answer.data() + got, answer.size() - got, 0);
      if (n <= 0) break;
      got += static_cast<std::size_t>(n);
    }
    ::close(connection);
    return answer.substr(0, got);
  }

  static TempFolder* folder_;
  static std::shared_ptr<Content> content_;
  static std::string tile_;
  std::unique_ptr<Server> server_;
  std::thread thread_;
  std::unique_ptr<httplib::Client> client_;
};
TempFolder* ViewerServer::folder_ = nullptr;
std::shared_ptr<Content> ViewerServer::content_;
std::string ViewerServer::tile_;

TEST_F(ViewerServer, EveryAnswerForbidsWhatIsNotOfThisServer) {
  start();
  for (const std::string& path : {std::string("/"), tile_, std::string("/nothing")}) {
    const auto result = client_->Get(path.c_str());
    ASSERT_TRUE(result);
    const std::string policy = result->get_header_value("Content-Security-Policy");
    EXPECT_THAT(policy, HasSubstr("default-src 'none'"));
    EXPECT_THAT(policy, HasSubstr("script-src 'self'"));
    EXPECT_THAT(policy, ::testing::Not(HasSubstr("unsafe")));
    EXPECT_EQ(result->get_header_value("X-Content-Type-Options"), "nosniff");
    EXPECT_EQ(result->get_header_value("Cross-Origin-Resource-Policy"), "same-origin");
    EXPECT_FALSE(result->has_header("Access-Control-Allow-Origin"));
  }
}

TEST_F(ViewerServer, OtherNamesOfThisHostAreRefused) {
  start({.names = {"slides.example.org"}});
  for (const char* host : {"localhost", "127.0.0.1:8000", "LocalHost:1", "[::1]:80", "slides.example.org:8080"})
    EXPECT_EQ(status("/", {{"Host", host}}), 200) << host;
  for (const char* host :
       {"evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "10.0.0.7", "", "127.0.0.1@evil.example"})
    EXPECT_EQ(status("/", {{"Host", host}}), 421) << host;
  EXPECT_THAT(raw("GET / HTTP/1.1\r\n\r\n"), HasSubstr("421")) << "no Host at all";
}

TEST(ViewerServerHosts, OfAReachableAddressAnyIpAddressWillDo) {
  const ServerOptions open{.address = "0.0.0.0", .token = "x"};
  EXPECT_TRUE(is_own_host("10.0.0.7:80", open));
  EXPECT_TRUE(is_own_host("[fe80::1]:80", open));
  EXPECT_FALSE(is_own_host("evil.example", open));
}

TEST_F(ViewerServer, OnlyGetAndHead) {
  start();
  EXPECT_EQ(client_->Post("/", "x", "text/plain")->status, 405);
  EXPECT_EQ(client_->Delete("/")->status, 405);
  EXPECT_EQ(client_->Options("/")->status, 405);
  const auto head = client_->Head(tile_.c_str());
  ASSERT_TRUE(head);
  EXPECT_EQ(head->status, 200);
  EXPECT_EQ(head->body, "");
}

TEST_F(ViewerServer, TilesAreKeptByTheBrowserAndAskedForAgainByTheirTag) {
  start();
  const auto first = client_->Get((tile_ + "?v=abc").c_str());
  ASSERT_TRUE(first);
  EXPECT_EQ(first->get_header_value("Content-Type"), "image/jpeg");
  EXPECT_THAT(first->get_header_value("Cache-Control"), HasSubstr("immutable"));
  EXPECT_THAT(client_->Get(tile_.c_str())->get_header_value("Cache-Control"), HasSubstr("no-cache"))
      << "no version named";
  EXPECT_THAT(client_->Get("/")->get_header_value("Cache-Control"), HasSubstr("no-cache"));
  const std::string tag = first->get_header_value("ETag");
  ASSERT_FALSE(tag.empty());
  const auto again = client_->Get(tile_.c_str(), {{"If-None-Match", tag}});
  EXPECT_EQ(again->status, 304);
  EXPECT_EQ(again->body, "");
  EXPECT_EQ(status(tile_, {{"If-None-Match", "\"other\""}}), 200);
}

TEST_F(ViewerServer, TraversalAndHugeRequestsAreRefused) {
  start();
  for (const char* path : {"/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/..%2f..%2fetc/passwd", "/data/r/..%00",
                           "//etc/passwd", "/data/r/%2fetc%2fpasswd/run.json"})
    EXPECT_THAT(raw(std::string("GET ") + path + " HTTP/1.1\r\nHost: localhost\r\n\r\n"), HasSubstr("404")) << path;
  EXPECT_THAT(raw("GET /" + std::string(20'000, 'a') + " HTTP/1.1\r\nHost: localhost\r\n\r\n"),
              ::testing::Not(HasSubstr("200")));
  EXPECT_THAT(raw("GET / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99999999999\r\n\r\n"), HasSubstr("413"));
  EXPECT_THAT(raw("nonsense\r\n\r\n"), ::testing::Not(HasSubstr("200")));
  EXPECT_EQ(status(tile_), 200) << "it goes on";
}

TEST_F(ViewerServer, WithATokenNobodyElseSeesAnything) {
  start({.token = "0123456789abcdef"});
  EXPECT_EQ(status("/"), 401);
  EXPECT_EQ(status(tile_), 401);
  EXPECT_EQ(status("/?token=0123456789abcdee"), 401);
  EXPECT_EQ(status("/?token="), 401);
  EXPECT_EQ(status("/", {{"Cookie", "vtissue_token=x; other=0123456789abcdef"}}), 401);
  const auto entered = client_->Get("/?token=0123456789abcdef");
  ASSERT_TRUE(entered);
  EXPECT_EQ(entered->status, 303);
  const std::string cookie = entered->get_header_value("Set-Cookie");
  EXPECT_THAT(cookie, HasSubstr("HttpOnly"));
  EXPECT_THAT(cookie, HasSubstr("SameSite=Strict"));
  EXPECT_EQ(status(tile_, {{"Cookie", "a=b; vtissue_token=0123456789abcdef"}}), 200);
  EXPECT_THAT(server_->url(), HasSubstr("?token=0123456789abcdef"));
}

TEST_F(ViewerServer, AReachableAddressNeedsAToken) {
  EXPECT_THROW(Server(content_, {.address = "0.0.0.0"}), Error);
  EXPECT_THROW(Server(content_, {.address = "example.org", .token = "x"}), Error);
  EXPECT_NO_THROW(Server(content_, {.address = "0.0.0.0", .token = random_token()}));
  EXPECT_NE(random_token(), random_token());
}

TEST_F(ViewerServer, APortThatIsTakenIsSaid) {
  const int taken = ::socket(AF_INET, SOCK_STREAM, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(taken, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  ASSERT_EQ(::listen(taken, 1), 0);
  socklen_t length = sizeof address;
  ::getsockname(taken, reinterpret_cast<sockaddr*>(&address), &length);
  EXPECT_THROW(Server(content_, {.port = ntohs(address.sin_port)}), Error);
  ::close(taken);
}

TEST_F(ViewerServer, ManyVisitorsAtOnceGetTheSameBytes) {
  start();
  const std::string expected = client_->Get(tile_.c_str())->body;
  std::atomic<int> wrong = 0;
  std::vector<std::thread> visitors;
  for (int i = 0; i < 32; ++i) {
    visitors.emplace_back([&] {
      httplib::Client visitor("127.0.0.1", server_->port());
      visitor.set_keep_alive(true);
      for (int k = 0; k < 60; ++k) {
        const auto result = visitor.Get(tile_.c_str());
        if (!result || result->status != 200 || result->body != expected) ++wrong;
      }
    });
  }
  for (std::thread& visitor : visitors) visitor.join();
  EXPECT_EQ(wrong, 0);
}

}  // namespace
}  // namespace vtissue::viewer
