#pragma once

#include <exception>
#include <future>
#include <memory>
#include <string>
#include <utility>

#include "assent/xa/error.h"

namespace assent {

/// A completion handler that keeps what went wrong, for who waits. Not a future of Asio's: it has several holders of
/// the exception, and how libstdc++ counts them ThreadSanitizer does not see.
class Failure {
 public:
  template <class... Values>
  void operator()(std::exception_ptr failure, Values&&...) const {
    told_->set_value(std::move(failure));
  }
  std::exception_ptr wait() const { return told_->get_future().get(); }

 private:
  std::shared_ptr<std::promise<std::exception_ptr>> told_ = std::make_shared<std::promise<std::exception_ptr>>();
};

/// "misuse: transaction … is over", the text of another exception, or "none".
template <class Operation>
std::string failure_of(Operation operation) {
  const Failure failure;
  operation(failure);
  try {
    if (auto thrown = failure.wait()) std::rethrow_exception(std::move(thrown));
  } catch (const Error& error) {
    return std::to_string(static_cast<int>(error.code())) + ": " + error.what() + "; " + error.hint();
  } catch (const std::exception& error) {
    return error.what();
  }
  return "none";
}

}  // namespace assent
