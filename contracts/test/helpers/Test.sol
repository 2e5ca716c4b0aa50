// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

/// @notice The few forge cheatcodes these tests use. The only `forge-std` on npm is not Foundry's own.
interface Vm {
    function warp(uint256 time) external;
    function roll(uint256 blockNumber) external;
    function prank(address sender) external;
    function expectRevert(bytes calldata data) external;
    function expectEmit(address emitter) external;
    function assume(bool condition) external pure;
    function readFile(string calldata path) external view returns (string memory);
    function parseJsonTypeArray(string calldata json, string calldata key, string calldata typeDescription)
        external
        pure
        returns (bytes memory);
    function parseJsonType(string calldata json, string calldata key, string calldata typeDescription)
        external
        pure
        returns (bytes memory);
    function load(address target, bytes32 slot) external view returns (bytes32);
    function cool(address target) external;
    function toString(uint256 value) external pure returns (string memory);
}

/// @notice The functions that an invariant test calls, as forge reads them from `targetSelectors`.
struct FuzzSelector {
    address addr;
    bytes4[] selectors;
}

abstract contract Test {
    Vm internal constant vm = Vm(address(uint160(uint256(keccak256("hevm cheat code")))));

    /// @dev Tells forge that this contract holds tests.
    bool public constant IS_TEST = true;

    error Unequal(bytes32 actual, bytes32 expected, string what);
    error UnequalText(string actual, string expected, string what);
    error Untrue(string what);

    function isTrue(bool condition, string memory what) internal pure {
        if (!condition) revert Untrue(what);
    }

    function equal(bytes32 actual, bytes32 expected, string memory what) internal pure {
        if (actual != expected) revert Unequal(actual, expected, what);
    }

    function equal(uint256 actual, uint256 expected, string memory what) internal pure {
        equal(bytes32(actual), bytes32(expected), what);
    }

    function equal(address actual, address expected, string memory what) internal pure {
        equal(uint256(uint160(actual)), uint256(uint160(expected)), what);
    }

    function equal(string memory actual, string memory expected, string memory what) internal pure {
        if (keccak256(bytes(actual)) != keccak256(bytes(expected))) revert UnequalText(actual, expected, what);
    }

    /// @dev Folds a fuzzed value into [low, high].
    function bound(uint256 value, uint256 low, uint256 high) internal pure returns (uint256) {
        return low + value % (high - low + 1);
    }

    /// @dev An address with a name instead of a number.
    function account(string memory name) internal pure returns (address) {
        return address(uint160(uint256(keccak256(bytes(name)))));
    }
}
