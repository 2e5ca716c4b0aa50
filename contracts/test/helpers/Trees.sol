// SPDX-License-Identifier: Apache-2.0
pragma solidity 0.8.37;

import {MerkleTwin} from "./MerkleTwin.sol";

/// @notice Small batches for tests.
library Trees {
    /// @dev `size` digests that depend on `seed`.
    function digests(uint256 seed, uint256 size) internal pure returns (bytes32[] memory list) {
        list = new bytes32[](size);
        for (uint256 i = 0; i < size; ++i) {
            list[i] = sha256(abi.encode(seed, i));
        }
    }

    function root(bytes32[] memory list) internal pure returns (bytes32) {
        return MerkleTwin.root(list, 0, list.length);
    }

    function path(bytes32[] memory list, uint256 index) internal pure returns (bytes32[] memory) {
        return MerkleTwin.path(list, index, 0, list.length);
    }
}
