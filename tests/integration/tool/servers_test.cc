// What can only be said of real servers.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
