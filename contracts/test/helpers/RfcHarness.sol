// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {Rfc9162} from "../../src/Rfc9162.sol";

/// @notice Gives the library's internal functions an address, so that their reverts can be caught and gas measured.
contract RfcHarness {
    function leafHash(bytes32 digest) external pure returns (bytes32) {
        return Rfc9162.leafHash(digest);
    }

    function nodeHash(bytes32 left, bytes32 right) external pure returns (bytes32) {
        return Rfc9162.nodeHash(left, right);
    }

    function verify(bytes32 digest, uint64 index, uint64 size, bytes32[] calldata path, bytes32 root) external pure {
        Rfc9162.verifyInclusion(Rfc9162.leafHash(digest), index, size, path, root);
    }
}
